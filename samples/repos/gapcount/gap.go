// Package gapcount finds what is missing from sequences of numbers.
package gapcount

import "sort"

// Gap is a run of missing numbers, both ends included.
type Gap struct{ From, To int }

// Gaps returns what is missing between the least and the greatest of numbers.
func Gaps(numbers []int) []Gap {
	sorted := append([]int(nil), numbers...)
	sort.Ints(sorted)
	var gaps []Gap
	for i := 1; i < len(sorted); i++ {
		if sorted[i]-sorted[i-1] > 1 {
			gaps = append(gaps, Gap{sorted[i-1] + 1, sorted[i] - 1})
		}
	}
	return gaps
}
