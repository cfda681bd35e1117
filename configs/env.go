package configs

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// A reference runs to the first brace; a missing brace is a fault of its own.
	envRef = regexp.MustCompile(`\$?\$\{[^}]*(\}|$)`)
)

// fault is what is wrong and what to do.
type fault struct{ what, fix string }

// expand replaces each ${NAME} in s by the environment's value. $${ stands for
// the characters ${.
func expand(s string, env func(string) (string, bool)) (out string, faults []fault) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	out = envRef.ReplaceAllStringFunc(s, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name, closed := strings.CutSuffix(m[2:], "}")
		switch {
		case !closed:
			faults = append(faults, fault{"${ is not closed", "write ${NAME}, or $${ for the characters themselves"})
		case !envName.MatchString(name):
			faults = append(faults, fault{fmt.Sprintf("%s names no environment variable", m), "write ${NAME}, or $${ for the characters themselves"})
		default:
			if v, ok := env(name); ok {
				return v
			}
			faults = append(faults, fault{fmt.Sprintf("the environment variable %s is not set", name), "set it, or write its value here"})
		}
		return m
	})
	return out, faults
}
