// Command spanfold prints the seconds of the duration given as arguments.
package main

import (
	"fmt"
	"os"
	"strings"

	span "example.org/spanfold"
)

func main() {
	d, err := span.Parse(strings.Join(os.Args[1:], " "))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%g s (%s)\n", d.Seconds(), span.Format(d))
}
