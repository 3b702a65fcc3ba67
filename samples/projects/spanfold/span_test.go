package span

import (
	"errors"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestParse(t *testing.T) {
	cases := map[string]time.Duration{
		"1h":      time.Hour,
		"2d12h":   60 * time.Hour,
		"1w":      7 * day,
		"1h 30m":  90 * time.Minute,
		" 250ms ": 250 * time.Millisecond,
	}
	for text, want := range cases {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseEmpty(t *testing.T) {
	if _, err := Parse("  "); !errors.Is(err, ErrEmpty) {
		t.Errorf("got %v, want ErrEmpty", err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{"h", "5", "5y", "1h30", "one hour"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, got)
		}
	}
}

func TestFormat(t *testing.T) {
	cases := map[string]time.Duration{
		"2d12h": 60 * time.Hour,
		"1w1s":  7*day + time.Second,
		"90ms":  90 * time.Millisecond,
	}
	for want, d := range cases {
		if got := Format(d); got != want {
			t.Errorf("Format(%v) = %q, want %q", d, got, want)
		}
	}
}
