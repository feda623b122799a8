// The command line program of the Ollama release that go.mod names, for tests that need the real one.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ollama/ollama/cmd"
)

func main() {
	if err := cmd.NewCLI().ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
