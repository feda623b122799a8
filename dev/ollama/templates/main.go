// What Go and Ollama make of templates, for the tests that hold the router to it: JSON in, JSON out.
//
// A text is data rendered with Go's own text/template, a prompt a conversation rendered by Ollama. Numbers of data that
// have no fraction are ints, as they are in the tests.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"text/template"

	"github.com/ollama/ollama/api"
	ollama "github.com/ollama/ollama/template"
)

type conversation struct {
	Template string        `json:"template"`
	Messages []api.Message `json:"messages"`
	Prompt   string        `json:"prompt"`
	Suffix   string        `json:"suffix"`
	Think    bool          `json:"think"`
	Level    string        `json:"level"`
	Set      bool          `json:"set"`
}

type request struct {
	Data    any            `json:"data"`
	Texts   []string       `json:"texts"`
	Prompts []conversation `json:"prompts"`
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

func told(out *bytes.Buffer, err error) result {
	if err != nil {
		return result{Error: err.Error()}
	}
	return result{Text: out.String()}
}

func text(source string, data any) result {
	functions := template.FuncMap{"json": func(value any) string {
		text, _ := json.Marshal(value)
		return string(text)
	}}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(source)
	if err != nil {
		return result{Error: err.Error()}
	}
	var out bytes.Buffer
	return told(&out, parsed.Execute(&out, data))
}

// Ollama panics where it cuts a condition with an else: that is an error here.
func prompt(asked conversation) (answer result) {
	defer func() {
		if why := recover(); why != nil {
			answer = result{Error: fmt.Sprint(why)}
		}
	}()
	parsed, err := ollama.Parse(asked.Template)
	if err != nil {
		return result{Error: err.Error()}
	}
	var out bytes.Buffer
	return told(&out, parsed.Execute(&out, ollama.Values{
		Messages:   asked.Messages,
		Prompt:     asked.Prompt,
		Suffix:     asked.Suffix,
		Think:      asked.Think,
		ThinkLevel: asked.Level,
		IsThinkSet: asked.Set,
	}))
}

func main() {
	var wish request
	if err := json.NewDecoder(os.Stdin).Decode(&wish); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	data := whole(wish.Data)
	answers := []result{}
	for _, source := range wish.Texts {
		answers = append(answers, text(source, data))
	}
	for _, asked := range wish.Prompts {
		answers = append(answers, prompt(asked))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		os.Exit(1)
	}
}
