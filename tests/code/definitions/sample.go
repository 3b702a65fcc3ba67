// Package sample has definitions.
package sample

// Stack holds
// values.
type Stack[T any] struct {
	items []T
	each  func(T)
}

type (
	Name  = string
	Level int
	Doer  interface{ Do() error }
)

/* Push puts one on top. */
func (s *Stack[T]) Push(one T) { s.items = append(s.items, one) }

func (Level) String() string {
	type local struct{}
	say := func() string { inner := func() {}; inner(); return "" }
	return say()
}

func Map[K comparable, V any](m map[K]V, f func(V) V) (out map[K]V, err error) {
	func() {}()
	return nil, nil
}

func assembly()

var handler = func(a int) int { return a }

var a, b = func() {}, func() {}

func init() {}
func init() {}
