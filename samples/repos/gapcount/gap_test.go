package gapcount

import (
	"reflect"
	"testing"
)

func TestGaps(t *testing.T) {
	for name, c := range map[string]struct {
		in   []int
		want []Gap
	}{
		"none":      {[]int{3, 4, 5}, nil},
		"one":       {[]int{9, 4}, []Gap{{5, 8}}},
		"two of it": {[]int{1, 3, 7, 3}, []Gap{{2, 2}, {4, 6}}},
		"empty":     {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Gaps(c.in); !reflect.DeepEqual(got, c.want) {
				t.Errorf("Gaps(%v) = %v, want %v", c.in, got, c.want)
			}
		})
	}
}

func TestTheInputIsNotSorted(t *testing.T) {
	in := []int{3, 1}
	Gaps(in)
	if in[0] != 3 {
		t.Error("the input was changed")
	}
}
