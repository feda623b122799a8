"""Conversations, templates for them, and the prompts: a table for two judges, ours and Ollama's."""

from typing import Any

TURNS = "{{ if .System }}<{{ .System }}>{{ end }}{{ if .Prompt }}[{{ .Prompt }}]{{ end }}{{ .Response }};"
NAMED = "{{ if .System }}<{{ .System }}>{{ end }}[{{ .Prompt }}]{{ if .Response }}({{ .Response }}){{ end }}after"
EACH = "{{ .System }}|{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}"
ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
CONVERSATIONS = [
    (EACH, "u1", "|user:u1;"),
    (EACH, "s1 u1 a1 u2", "s1|system:s1;user:u1;assistant:a1;user:u2;"),
    (EACH, "s1 u1 s2 a1", "s1\n\ns2|system:s1;user:u1;system:s2;assistant:a1;"),
    (EACH, "u1 u2 t1 t2 a1 a2", "|user:u1\n\nu2;tool:t1;tool:t2;assistant:a1\n\na2;"),
    (EACH, "", "|"),
    ("{{ .System }} {{ .Prompt }}", "s1 u1", "s1 u1"),
    ("{{ .Prompt }}", "u1 a1 u2", "u1a1u2"),
    ("{{ .Prompt }}", "u1 a1", "u1a1"),
    (TURNS, "u1", "[u1]"),
    (TURNS, "s1 u1 a1 u2", "<s1>[u1]a1;[u2]"),
    (TURNS, "s1 u1 a1 u2 a2", "<s1>[u1]a1;[u2]a2"),
    (TURNS, "u1 s1 u2", "[u1];<s1>[u2]"),
    (TURNS, "s1 s2 u1 u2", "<s1\n\ns2>[u1\n\nu2]"),
    (TURNS, "u1 a1 t1 u2", "[u1]a1;[u2]"),
    (TURNS, "", ""),
    (NAMED, "s1 u1 a1 u2", "<s1>[u1](a1)after[u2]"),
    (NAMED, "u1 a1", "[u1](a1"),
    ("{{ if .Prompt }}{{ with .Response }}x{{ else }}{{ .Response }}y{{ end }}z{{ else }}w{{ end }}v", "u1", ""),
    ("{{ if .No }}a{{ else if .Prompt }}b{{ .Response }}c{{ else if .X }}d{{ else }}e{{ end }}f", "u1", "b"),
    ("{{ range $i, $_ := .List }}{{ else }}{{ $.Response }}x{{ end }}y", "u1 a1", "a1xy"),
    ("{{ range $i, $_ := .List }}{{ else }}{{ .Response }}x{{ end }}y", "u1 a1", "a1"),
    ("{{ printf `%s!` .Response }}x", "u1 a1", "a1!"),
    ("{{ (print .Prompt .Response) }}x", "u1 a1", "u1a1"),
    ("{{ define `t` }}{{ . }}{{ end }}{{ template `t` .Prompt }}-{{ .Response }}x", "u1 a1 u2", "u1-a1xu2-"),
]
"""A template, who says what, and the prompt; where Ollama can make one it is the same."""


def said(turns: str) -> list[dict[str, Any]]:
    """`s1 u1 a1`: who speaks, and what is said."""
    return [{"role": ROLES[turn[0]], "content": turn} for turn in turns.split()]
