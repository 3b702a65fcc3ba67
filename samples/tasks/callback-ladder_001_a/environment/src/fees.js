'use strict';

// Basis points, by what a merchant got earlier in the run.
const PLANS = {
  basic: [[0, 120], [50000, 90], [200000, 60]],
  plus: [[0, 70], [100000, 40]],
};

function feeOf(plan, earlier, amount) {
  const steps = PLANS[plan] || PLANS.basic;
  const [, points] = steps.filter(([from]) => earlier >= from).pop();
  return Math.round((amount * points) / 10000);
}

module.exports = { feeOf };
