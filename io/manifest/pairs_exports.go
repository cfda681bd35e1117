package manifest

import (
	"slices"
	"strconv"
	"strings"

	"winnow/pipeline"
)

// export is what the annotations of one row of a labeling tool's export say.
type export struct {
	values []said   // those without a box are listed once
	done   int      // annotations that somebody finished; with none the row is not labeled yet
	other  []string // kinds of answers that name no class
	faults []error  // of single annotations: the others count
	rest   any      // the confidence of values without one of their own
}

func (e *export) add(s said) {
	s.value = strings.TrimSpace(s.value)
	if s.value == "" {
		return
	}
	if s.confidence == nil {
		s.confidence = e.rest
	}
	if s.box != nil {
		if err := s.box.check(); err != nil {
			e.faults = append(e.faults, rowFault(pipeline.ReasonInvalidRow, "the box of %q: %w", s.value, err))
			return
		}
	} else if slices.ContainsFunc(e.values, func(o said) bool { return o.box == nil && o.value == s.value }) {
		return
	}
	e.values = append(e.values, s)
}

// passOver notes a kind of answer that names no class.
func (e *export) passOver(kind string) {
	if kind != "" && !slices.Contains(e.other, kind) {
		e.other = append(e.other, kind)
	}
}

// annotations reads the annotations of a labeling tool's export; nil says that the
// row is of none.
func (m *rowMapper) annotations(kind PairKind, confidence any) *export {
	e := &export{rest: confidence}
	switch {
	case m.has("data_row"):
		labelboxValues(m.value("projects"), e)
	case m.has("annotations") || m.has("predictions") || strings.HasPrefix(string(m.value("data")), "{"):
		key := "annotations"
		if kind == Predictions {
			key = "predictions"
		}
		labelStudioValues(m.value(key), e)
	default:
		if !m.groundTruthValues(e) && !m.has("source-ref") {
			return nil
		}
	}
	return e
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
// projects.*.labels[].annotations. A label that was skipped says nothing.
func labelboxValues(projects []byte, e *export) {
	walkJSON(projects, func(key string, raw []byte) bool {
		if key != "labels" {
			return true
		}
		_ = elementsOf(raw, func(label []jsonMember) {
			for _, where := range []string{"label_details", "performance_details"} {
				details, _ := members(orEmpty(memberOf(label, where)), nil)
				for _, name := range []string{"is_skipped", "skipped"} {
					if v := memberOf(details, name); v != nil && v[0] == 't' {
						return
					}
				}
			}
			if annotations := memberOf(label, "annotations"); annotations != nil {
				e.done++
				labelboxAnnotations(annotations, e)
			}
		})
		return false
	})
}

func labelboxAnnotations(raw []byte, e *export) {
	walkJSON(raw, func(key string, raw []byte) bool {
		switch key {
		case "objects":
			_ = elementsOf(raw, func(o []jsonMember) {
				s := said{value: textAt(o, "name")}
				if b := memberOf(o, "bounding_box"); b != nil {
					var err error
					if s.box, err = boxOf(b); err != nil {
						e.faults = append(e.faults, rowFault(pipeline.ReasonInvalidRow, "bounding_box of %q: %w", s.value, err))
						return
					}
					s.object = objectID(o, "feature_id")
				}
				e.add(s)
			})
			return false
		case "radio_answer", "checklist_answers":
			walkJSON(raw, func(key string, raw []byte) bool {
				if key == "name" {
					addTexts(raw, e.add)
				}
				return false
			})
			return false
		case "text_answer":
			e.passOver(key)
			return false
		}
		return true
	})
}

// labelStudioValues reads the choices and labels of results[].value. An annotation
// that was cancelled says nothing.
func labelStudioValues(list []byte, e *export) {
	_ = elementsOf(list, func(annotation []jsonMember) {
		if c := memberOf(annotation, "was_cancelled"); c != nil && c[0] == 't' {
			return
		}
		if memberOf(annotation, "result") != nil {
			e.done++
		}
		_ = elementsOf(memberOf(annotation, "result"), func(r []jsonMember) {
			s := said{confidence: confidenceOf(r, annotation)}
			if s.box = labelStudioBox(r); s.box != nil {
				s.object = objectID(r, "id")
			}
			value, _ := members(orEmpty(memberOf(r, "value")), nil)
			known := false
			for _, f := range value {
				if f.key == "choices" || strings.HasSuffix(f.key, "labels") {
					known = true
					addTexts(f.raw, func(t said) { s.value = t.value; e.add(s) })
				}
			}
			if !known {
				e.passOver(textAt(r, "type"))
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
// beside NAME, and the boxes of NAME. It tells whether there is such a member; one
// with a failure-reason says nothing.
func (m *rowMapper) groundTruthValues(e *export) (is bool) {
	for _, f := range m.top {
		name, ok := strings.CutSuffix(f.key, "-metadata")
		if !ok || !m.has(name) {
			continue
		}
		meta, err := members(f.raw, nil)
		if err != nil {
			continue
		}
		is = true
		if memberOf(meta, "failure-reason") != nil {
			continue
		}
		if c := memberOf(meta, "class-name"); c != nil {
			e.done++
			addTexts(c, func(s said) {
				if c, err := share(textAt(meta, "confidence")); err == nil {
					s.confidence = c
				}
				e.add(s)
			})
		}
		classes, err := members(orEmpty(memberOf(meta, "class-map")), nil)
		if err != nil || len(classes) == 0 {
			continue
		}
		e.done++
		job, _ := m.objectAt(name)
		if boxes := memberOf(job, "annotations"); boxes != nil {
			groundTruthBoxes(boxes, classes, e)
			continue
		}
		for _, c := range classes { // the class map of a classification holds what was chosen
			addTexts(c.raw, e.add)
		}
	}
	return is
}

// groundTruthBoxes reads the boxes of one job, whose classes the map names.
func groundTruthBoxes(list []byte, classes []jsonMember, e *export) {
	nth := 0
	_ = elementsOf(list, func(a []jsonMember) {
		nth++
		id := textAt(a, "class_id")
		class := textAt(classes, id)
		b, err := boxOf(asObject(a))
		switch {
		case err != nil:
			e.faults = append(e.faults, rowFault(pipeline.ReasonInvalidRow, "box %d: %w", nth, err))
		case class == "":
			e.faults = append(e.faults, rowFault(pipeline.ReasonInvalidRow, "box %d: class_id %q is not in class-map", nth, id))
		default:
			e.add(said{value: class, box: b, object: strconv.Itoa(nth)})
		}
	})
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
