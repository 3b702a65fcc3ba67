SELECT id, placed FROM orders WHERE customer = 17 ORDER BY placed DESC LIMIT 10;
SELECT id FROM orders WHERE status = 'open' AND placed >= '2024-11-01' ORDER BY placed;
SELECT sum(number) FROM lines WHERE article = 42 AND number > 3;
