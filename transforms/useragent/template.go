package useragent

import "strings"

// A template is a replacement value of a rule: text with the placeholders $1
// to $9, which stand for what the groups of the regular expression captured.
type template struct {
	text  string
	group int  // the only content is this group; 0 if not
	plain bool // no placeholder at all
}

// parseTemplate reads a replacement value.
func parseTemplate(text string) template {
	t := template{text: text, plain: true}
	for i := range len(text) {
		if _, ok := placeholder(text, i); ok {
			t.plain = false
		}
	}
	if n, ok := placeholder(text, 0); ok && len(text) == 2 {
		t.group = n
	}
	return t
}

func placeholder(text string, i int) (group int, ok bool) {
	if i+1 < len(text) && text[i] == '$' && '1' <= text[i+1] && text[i+1] <= '9' {
		return int(text[i+1] - '0'), true
	}
	return 0, false
}

// expand fills the template. The result may share memory with agent.
func (t *template) expand(agent string, captures []int) string {
	if t.plain {
		return t.text
	}
	if t.group > 0 {
		return captured(agent, captures, t.group)
	}
	var b strings.Builder
	for i := 0; i < len(t.text); i++ {
		if n, ok := placeholder(t.text, i); ok {
			b.WriteString(captured(agent, captures, n))
			i++
			continue
		}
		b.WriteByte(t.text[i])
	}
	return b.String()
}

// captured returns a group's text, empty if the group took no part in the
// match or does not exist. Captures are in the form of the regexp package.
func captured(agent string, captures []int, group int) string {
	if 2*group+1 >= len(captures) || captures[2*group] < 0 {
		return ""
	}
	return agent[captures[2*group]:captures[2*group+1]]
}
