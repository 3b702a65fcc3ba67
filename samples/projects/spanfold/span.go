// Package span parses and prints durations with days and weeks.
package span

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrEmpty is returned for text without any duration in it.
var ErrEmpty = errors.New("span: empty duration")

type unit struct {
	name string
	size time.Duration
}

// units, largest first: Format walks them in this order.
var units = []unit{
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

// Parse reads a sum of parts such as "1d12h"; spaces between the parts are allowed.
func Parse(text string) (time.Duration, error) {
	rest := strings.TrimSpace(text)
	if rest == "" {
		return 0, ErrEmpty
	}
	var total time.Duration
	for rest != "" {
		number, after, err := leadingNumber(rest)
		if err != nil {
			return 0, fmt.Errorf("span: %q: %w", text, err)
		}
		size, after, err := leadingUnit(after)
		if err != nil {
			return 0, fmt.Errorf("span: %q: %w", text, err)
		}
		total += time.Duration(number) * size
		rest = strings.TrimLeft(after, " ")
	}
	return total, nil
}

// leadingNumber takes the number off the front of text.
func leadingNumber(text string) (int64, string, error) {
	end := 0
	if text[0] == '-' || text[0] == '+' {
		end = 1
	}
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	number, err := strconv.ParseInt(text[:end], 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("expected a number at %q", text)
	}
	return number, text[end:], nil
}

// leadingUnit takes the letters of a unit off the front of text.
func leadingUnit(text string) (time.Duration, string, error) {
	end := 0
	for end < len(text) && text[end] >= 'a' && text[end] <= 'z' {
		end++
	}
	for _, u := range units {
		if u.name == text[:end] {
			return u.size, text[end:], nil
		}
	}
	return 0, "", fmt.Errorf("unknown unit %q", text[:end])
}

// Format writes d with the largest units that fit; what is below a millisecond is dropped.
func Format(d time.Duration) string {
	var out strings.Builder
	for _, u := range units {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&out, "%d%s", n, u.name)
			d -= n * u.size
		}
	}
	return out.String()
}
