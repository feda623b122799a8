// Renders templates with Go's own text/template, for test_gotemplate_peer.py: {"data", "templates"} in, for each template
// {"text"} or {"error"} out. Numbers without a fraction are ints, as they are in the tests.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"text/template"
)

type request struct {
	Data      any      `json:"data"`
	Templates []string `json:"templates"`
}

type result struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

func whole(value any) any {
	switch found := value.(type) {
	case float64:
		if found == float64(int(found)) {
			return int(found)
		}
	case []any:
		for i := range found {
			found[i] = whole(found[i])
		}
	case map[string]any:
		for name := range found {
			found[name] = whole(found[name])
		}
	}
	return value
}

func render(source string, data any) (answer result) {
	functions := template.FuncMap{"json": func(value any) string {
		text, _ := json.Marshal(value)
		return string(text)
	}}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(source)
	if err != nil {
		return result{Error: err.Error()}
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, data); err != nil {
		return result{Error: err.Error()}
	}
	return result{Text: out.String()}
}

func main() {
	var wish request
	if err := json.NewDecoder(os.Stdin).Decode(&wish); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	data := whole(wish.Data)
	answers := make([]result, 0, len(wish.Templates))
	for _, source := range wish.Templates {
		answers = append(answers, render(source, data))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		os.Exit(1)
	}
}
