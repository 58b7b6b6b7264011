package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: each line of Go in the README is a line of the code, and its
// tables have every misbehaviour.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	must(t, err)
	readme := string(text)

	code := make(map[string]bool)
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, line := range strings.Split(string(text), "\n") {
			code[line] = true
		}
	}
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		for _, line := range strings.Split(block[1], "\n") {
			if !code[line] {
				t.Errorf("not in the code: %q", line)
			}
		}
	}

	flags := flag.NewFlagSet("", flag.PanicOnError)
	new(misbehaviour).addFlags(flags)
	flags.VisitAll(func(f *flag.Flag) {
		if !strings.Contains(readme, "| `-"+f.Name+"` |") {
			t.Errorf("-%s is not in the README", f.Name)
		}
	})
}
