package lru

import (
	"reflect"
	"testing"
	"time"
)

// clock is a time that tests move by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func wantKeys(t *testing.T, c *Cache[string, int], want ...string) {
	t.Helper()
	if got := c.Keys(); !reflect.DeepEqual(got, want) {
		t.Errorf("keys are %v, want %v", got, want)
	}
}

func TestGetMissing(t *testing.T) {
	if _, ok := New[string, int](1).Get("a"); ok {
		t.Error("found a key in an empty cache")
	}
}

func TestEvictsTheOldest(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Put("c", 3)
	wantKeys(t, c, "c", "b")
	if c.Evicted() != 1 {
		t.Errorf("evicted %d, want 1", c.Evicted())
	}
}

func TestGetRenews(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Get("a")
	c.Put("c", 3)
	wantKeys(t, c, "c", "a")
}

func TestPeekDoesNotRenew(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Peek("a")
	wantKeys(t, c, "b", "a")
}

func TestPutReplaces(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("a", 2)
	if got, _ := c.Get("a"); got != 2 || c.Len() != 1 {
		t.Errorf("got %d of %d entries, want 2 of 1", got, c.Len())
	}
}

func TestDelete(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	if !c.Delete("a") || c.Delete("a") {
		t.Error("want true for the first Delete and false for the second")
	}
}

func TestExpires(t *testing.T) {
	clock := &clock{time.Unix(0, 0)}
	c := New[string, int](2, WithTTL(time.Minute), WithClock(clock.now))
	c.Put("a", 1)
	clock.at = clock.at.Add(time.Minute)
	if _, ok := c.Get("a"); ok {
		t.Error("the entry should be gone after its TTL")
	}
}
