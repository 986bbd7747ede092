"""The subset of Go templates that --format takes."""

from __future__ import annotations

from typing import Any

import pytest

from pycontain.engine.templates import Template
from pycontain.errors import UsageError

VALUE: dict[str, Any] = {
    "Id": "abc",
    "Pid": 12,
    "Ratio": 0.5,
    "Running": True,
    "Nothing": None,
    "Empty": "",
    "State": {"Pid": 12, "Status": "running", "Deep": {"Er": "x"}},
    "Labels": {"a": "1", "b.c": "2"},
    "Mounts": [{"Source": "/a", "RW": True}, {"Source": "/b", "RW": False}],
    "Names": ["one", "two"],
}


def render(text: str) -> str:
    return Template(text).render(VALUE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("plain } {", "plain } {"),
        ("{{.Id}}", "abc"),
        ("<{{ .Id }}>", "<abc>"),
        ("{{.State.Deep.Er}}", "x"),
        ("{{(.State).Pid}}", "12"),
        ("{{.Running}} {{.Pid}} {{.Ratio}} {{.Nothing}}", "true 12 0.5 <no value>"),
        ("{{.Names}} {{.Labels}}", "[one two] map[a:1 b.c:2]"),
        ("{{json .}}", None),
        ("{{json .State}}", '{"Pid":12,"Status":"running","Deep":{"Er":"x"}}'),
        ("{{.Names | json}}", '["one","two"]'),
        ('{{index .Labels "b.c"}}{{index .Names 1}}{{index .Labels "missing"}}', "2two"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{len .Names}}", "2"),
        ('{{join .Names ", "}}', "one, two"),
        ('{{upper .Id}} {{.Id | upper | lower}} {{title "some text"}}', "ABC abc Some Text"),
        ('{{split "a-b" "-"}}', "[a b]"),
        ("{{range .Mounts}}{{.Source}}:{{.RW}} {{end}}", "/a:true /b:false "),
        ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}}{{$.Id}} {{end}}", "0=/aabc 1=/babc "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b.c=2;"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if .Running}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Empty}}a{{else if eq .Pid 12}}b{{else}}c{{end}}", "b"),
        ("{{with .State}}{{.Status}}{{end}}{{with .Empty}}x{{else}}y{{end}}", "runningy"),
        ('{{if and .Running (gt .Pid 10) (ne .Id "x")}}ok{{end}}', "ok"),
        ("{{if or .Empty (not .Running)}}a{{else}}b{{end}}", "b"),
        ('{{if eq .Id "x" "abc"}}one of{{end}}', "one of"),
        ("{{$x := .State.Pid}}{{$x}}", "12"),
        ("a {{- .Id -}} b", "aabcb"),
        ("{{/* a comment */}}{{- /* another */ -}} x", "x"),
        ('{{printf "%s-%05d %q %v%%" .Id .Pid .Id .Names}}', 'abc-00012 "abc" [one two]%'),
        ('{{printf "%.2f|%-5s|%5s|" .Ratio "a" "b"}}', "0.50|a    |    b|"),
        ('{{println "a" 1}}', "a 1\n"),
        ('{{"}}"}}{{`raw \\n`}}{{"a\\tb"}}', "}}raw \\na\tb"),
        ("{{slice .Id 0 2}} {{truncate .Id 1}}", "ab a"),
        ("{{true}} {{nil}} {{1}} {{1.5}}", "true <no value> 1 1.5"),
        ("{{eq .Nothing nil}}", "true"),
    ],
)
def test_templates(text: str, wanted: str | None) -> None:
    result = render(text)
    if wanted is not None:
        assert result == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{.Missing}}", "there is no field .Missing"),
        ("{{.Stat}}", "did you mean .State"),
        ("{{.Id.X}}", "has no fields"),
        ("{{.Id", "{{ without }}"),
        ("{{}}", "empty"),
        ("{{range .Names}}", "{{end}} is missing"),
        ("{{end}}", "without if"),
        ("{{else}}", "without if"),
        ("{{if .Id}}{{else}}{{else}}{{end}}", "second {{else}}"),
        ("{{jsn .}}", "'jsn'"),
        ('{{template "x"}}', "not understood"),
        ('{{define "x"}}{{end}}', "not understood"),
        ("{{.Id | nope}}", "'nope'"),
        ("{{.Id .Pid}}", "is not a function"),
        ("{{len .Pid}}", "len cannot work"),
        ("{{index .Names 7}}", "index cannot work"),
        ("{{join .Id}}", "join takes 2"),
        ("{{range .Id}}{{end}}", "neither a list nor a map"),
        ("{{$x}}", "variable $x"),
        ("{{(.Id}}", "( without )"),
        ('{{printf "%y" 1}}', "printf cannot work"),
        ('{{printf "%s"}}', "printf cannot work"),
        ("{{.Id ! }}", "'!'"),
        ('{{"\\z"}}', "\\z"),
        ("{{/* never ends }}", "comment"),
        ("{{gt .Id 1}}", "gt cannot work"),
    ],
)
def test_mistakes_are_named(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(text)
    assert str(caught.value).startswith("--format: ")
    assert told in str(caught.value)
    assert caught.value.hint
