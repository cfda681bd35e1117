package manifest

import (
	"slices"
	"strconv"
	"strings"
)

// annotations reads the values of a labeling tool's export. Values without a box
// are listed once.
func (m *rowMapper) annotations(kind PairKind, confidence any) []said {
	var out []said
	add := func(s said) {
		s.value = strings.TrimSpace(s.value)
		if s.confidence == nil {
			s.confidence = confidence
		}
		if s.box != nil && s.box.check() != nil {
			s.box = nil
		}
		twice := s.box == nil && slices.ContainsFunc(out, func(o said) bool { return o.box == nil && o.value == s.value })
		if s.value != "" && !twice {
			out = append(out, s)
		}
	}
	switch {
	case m.has("data_row"):
		labelboxValues(m.value("projects"), add)
	case m.has("annotations") || m.has("predictions"):
		key := "annotations"
		if kind == Predictions {
			key = "predictions"
		}
		labelStudioValues(m.value(key), add)
	default:
		m.groundTruthValues(add)
	}
	return out
}

func (m *rowMapper) value(name string) []byte {
	if i, ok := m.index[name]; ok {
		return m.top[i].raw
	}
	return nil
}

// walkJSON calls fn for every member of every object in a value, outermost
// first; where fn returns false it does not look into the member.
func walkJSON(raw []byte, fn func(key string, raw []byte) bool) {
	if len(raw) == 0 {
		return
	}
	switch raw[0] {
	case '[':
		_ = elements(raw, func(raw []byte) error { walkJSON(raw, fn); return nil })
	case '{':
		inner, _ := members(raw, nil)
		for _, f := range inner {
			if fn(f.key, f.raw) {
				walkJSON(f.raw, fn)
			}
		}
	}
}

// memberOf is the value of a name, nil where there is none.
func memberOf(list []jsonMember, name string) []byte {
	for _, f := range list {
		if f.key == name {
			return f.raw
		}
	}
	return nil
}

// textAt is the text or number of a name, "" where there is none.
func textAt(list []jsonMember, name string) string {
	raw := memberOf(list, name)
	if raw == nil {
		return ""
	}
	s, err := scalar(raw)
	if err != nil {
		return ""
	}
	return s
}

// objectID is what tells an object apart, or nil.
func objectID(list []jsonMember, names ...string) any {
	for _, n := range names {
		if s := textAt(list, n); s != "" {
			return s
		}
	}
	return nil
}

// labelboxValues reads the names of objects and of answers from
// projects.*.labels[].annotations.
func labelboxValues(projects []byte, add func(said)) {
	walkJSON(projects, func(key string, raw []byte) bool {
		if key != "annotations" {
			return true
		}
		walkJSON(raw, func(key string, raw []byte) bool {
			switch key {
			case "objects":
				_ = elementsOf(raw, func(o []jsonMember) {
					s := said{value: textAt(o, "name")}
					if b := memberOf(o, "bounding_box"); b != nil {
						if s.box, _ = boxOf(b); s.box != nil {
							s.object = objectID(o, "feature_id")
						}
					}
					add(s)
				})
				return false
			case "radio_answer", "checklist_answers":
				walkJSON(raw, func(key string, raw []byte) bool {
					if key == "name" {
						addTexts(raw, add)
					}
					return false
				})
				return false
			}
			return true
		})
		return false
	})
}

// labelStudioValues reads the choices and labels of results[].value.
func labelStudioValues(list []byte, add func(said)) {
	_ = elementsOf(list, func(annotation []jsonMember) {
		if c := memberOf(annotation, "was_cancelled"); c != nil && c[0] == 't' {
			return
		}
		_ = elementsOf(memberOf(annotation, "result"), func(r []jsonMember) {
			s := said{confidence: confidenceOf(r, annotation)}
			if s.box = labelStudioBox(r); s.box != nil {
				s.object = objectID(r, "id")
			}
			value, _ := members(orEmpty(memberOf(r, "value")), nil)
			for _, f := range value {
				if f.key == "choices" || strings.HasSuffix(f.key, "labels") {
					addTexts(f.raw, func(t said) { s.value = t.value; add(s) })
				}
			}
		})
	})
}

func orEmpty(raw []byte) []byte {
	if raw == nil {
		return []byte("{}")
	}
	return raw
}

// confidenceOf is the first score in [0, 1] of the lists, or nil.
func confidenceOf(lists ...[]jsonMember) any {
	for _, l := range lists {
		if c, err := share(textAt(l, "score")); err == nil {
			return c
		}
	}
	return nil
}

// labelStudioBox is the box of a result, which is written in percent of the
// picture's size; nil where there is none.
func labelStudioBox(result []jsonMember) *box {
	value, _ := members(orEmpty(memberOf(result, "value")), nil)
	var n [6]float64
	for i, text := range []string{textAt(value, "x"), textAt(value, "y"), textAt(value, "width"), textAt(value, "height"),
		textAt(result, "original_width"), textAt(result, "original_height")} {
		var err error
		if n[i], err = strconv.ParseFloat(text, 64); err != nil {
			return nil
		}
	}
	return &box{n[0] * n[4] / 100, n[1] * n[5] / 100, n[2] * n[4] / 100, n[3] * n[5] / 100}
}

// groundTruthValues reads class names from the members NAME-metadata that stand
// beside NAME, and the boxes of NAME.
func (m *rowMapper) groundTruthValues(add func(said)) {
	for _, f := range m.top {
		name, ok := strings.CutSuffix(f.key, "-metadata")
		if !ok || !m.has(name) {
			continue
		}
		meta, err := members(f.raw, nil)
		if err != nil {
			continue
		}
		if c := memberOf(meta, "class-name"); c != nil {
			addTexts(c, func(s said) {
				if c, err := share(textAt(meta, "confidence")); err == nil {
					s.confidence = c
				}
				add(s)
			})
		}
		classes, err := members(orEmpty(memberOf(meta, "class-map")), nil)
		if err != nil || len(classes) == 0 {
			continue
		}
		job, _ := m.objectAt(name)
		boxes := 0
		_ = elementsOf(memberOf(job, "annotations"), func(a []jsonMember) {
			b, err := boxOf(asObject(a))
			if class := textAt(classes, textAt(a, "class_id")); err == nil && class != "" {
				boxes++
				add(said{value: class, box: b, object: strconv.Itoa(boxes)})
			}
		})
		if boxes == 0 {
			for _, c := range classes {
				addTexts(c.raw, add)
			}
		}
	}
}

// asObject writes members as an object again.
func asObject(list []jsonMember) []byte {
	b := []byte{'{'}
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, f.key), ':')
		b = append(b, f.raw...)
	}
	return append(b, '}')
}

func addTexts(raw []byte, add func(said)) {
	list, err := texts(raw)
	if err != nil {
		return
	}
	for _, s := range list {
		add(said{value: s})
	}
}

// elementsOf calls fn for every object of a list.
func elementsOf(raw []byte, fn func([]jsonMember)) error {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	return elements(raw, func(raw []byte) error {
		if raw[0] != '{' {
			return nil
		}
		inner, err := members(raw, nil)
		fn(inner)
		return err
	})
}
