package format

import (
	"testing"

	"example.org/gapcount"
)

func TestLine(t *testing.T) {
	if got := Line(gapcount.Gaps([]int{1, 3, 10})); got != "2, 4-9" {
		t.Errorf("got %q", got)
	}
}

func TestNothingMissing(t *testing.T) {
	if got := Line(nil); got != "" {
		t.Errorf("got %q", got)
	}
}
