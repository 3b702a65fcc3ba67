// Package format writes gaps as people do: 4, 6-9.
package format

import (
	"fmt"
	"strings"

	"example.org/gapcount"
)

// Line joins gaps with commas.
func Line(gaps []gapcount.Gap) string {
	parts := make([]string, 0, len(gaps))
	for _, gap := range gaps {
		if gap.From == gap.To {
			parts = append(parts, fmt.Sprint(gap.From))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", gap.From, gap.To))
		}
	}
	return strings.Join(parts, ", ")
}
