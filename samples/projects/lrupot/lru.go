// Package lru is a cache that keeps the entries used last.
package lru

import (
	"container/list"
	"time"
)

// Cache holds at most a fixed number of entries. Make one with New.
type Cache[K comparable, V any] struct {
	limit   int
	config  config
	order   *list.List // of *entry[K, V], most recently used first
	items   map[K]*list.Element
	evicted int
}

type entry[K comparable, V any] struct {
	key     K
	value   V
	expires time.Time // the zero time: never
}

type config struct {
	ttl time.Duration
	now func() time.Time
}

// Option changes a setting of New.
type Option func(*config)

// WithTTL makes entries expire this long after they were put in.
func WithTTL(ttl time.Duration) Option {
	return func(c *config) { c.ttl = ttl }
}

// WithClock replaces time.Now, for tests.
func WithClock(now func() time.Time) Option {
	return func(c *config) { c.now = now }
}

// New makes an empty cache; it panics when limit is not positive.
func New[K comparable, V any](limit int, options ...Option) *Cache[K, V] {
	if limit < 1 {
		panic("lru: the limit must be positive")
	}
	c := &Cache[K, V]{limit: limit, order: list.New(), items: map[K]*list.Element{}}
	c.config.now = time.Now
	for _, option := range options {
		option(&c.config)
	}
	return c
}

// Put stores a value, and drops the entry used longest ago if there is one too many.
func (c *Cache[K, V]) Put(key K, value V) {
	if element, ok := c.items[key]; ok {
		element.Value.(*entry[K, V]).value = value
		return
	}
	e := &entry[K, V]{key: key, value: value}
	if c.config.ttl > 0 {
		e.expires = c.config.now().Add(c.config.ttl)
	}
	c.items[key] = c.order.PushFront(e)
	if c.order.Len() > c.limit {
		c.remove(c.order.Back())
		c.evicted++
	}
}

// Get returns the value of a key and makes it the most recently used one.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	value, ok := c.Peek(key)
	if ok {
		c.order.MoveToFront(c.items[key])
	}
	return value, ok
}

// Peek returns the value of a key and leaves the order alone.
func (c *Cache[K, V]) Peek(key K) (V, bool) {
	var none V
	element, ok := c.items[key]
	if !ok {
		return none, false
	}
	e := element.Value.(*entry[K, V])
	if c.expired(e) {
		c.remove(element)
		return none, false
	}
	return e.value, true
}

// Delete drops a key; it says whether there was one.
func (c *Cache[K, V]) Delete(key K) bool {
	element, ok := c.items[key]
	if ok {
		c.remove(element)
	}
	return ok
}

// Len is the number of entries.
func (c *Cache[K, V]) Len() int {
	return c.order.Len()
}

// Evicted counts the entries dropped because the cache was full.
func (c *Cache[K, V]) Evicted() int {
	return c.evicted
}

// Keys lists the keys, most recently used first.
func (c *Cache[K, V]) Keys() []K {
	keys := make([]K, 0, c.order.Len())
	for element := c.order.Front(); element != nil; element = element.Next() {
		keys = append(keys, element.Value.(*entry[K, V]).key)
	}
	return keys
}

func (c *Cache[K, V]) expired(e *entry[K, V]) bool {
	return !e.expires.IsZero() && !c.config.now().Before(e.expires)
}

func (c *Cache[K, V]) remove(element *list.Element) {
	c.order.Remove(element)
	delete(c.items, element.Value.(*entry[K, V]).key)
}
