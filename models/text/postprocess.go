package text

import (
	"encoding/json"
	"errors"
	"fmt"
)

// frame is what a post-processor puts around the ids of a text.
type frame struct{ before, after []int64 }

// namedID is a token with its id: ["[SEP]", 102].
type namedID struct {
	name string
	id   int64
}

func (n *namedID) UnmarshalJSON(b []byte) error {
	var id uint32
	list := []any{&n.name, &id}
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) != 2 {
		return fmt.Errorf("%s is not a token and its id", short(b))
	}
	n.id = int64(id)
	return nil
}

// readFrame reads a post_processor, and those in it.
func readFrame(raw component) (*frame, error) {
	kind, err := raw.kind()
	if err != nil || kind == "" {
		return &frame{}, err
	}
	switch kind {
	case "Sequence":
		return readFrames(raw)
	case "ByteLevel": // changes offsets only
		_, err := readByteLevel(raw)
		return &frame{}, err
	case "BertProcessing", "RobertaProcessing":
		var v struct {
			Type        string
			Sep, Cls    *namedID
			TrimOffsets bool `json:"trim_offsets"` // of no effect on ids
			PrefixSpace bool `json:"add_prefix_space"`
		}
		if err := raw.into(&v); err != nil {
			return nil, err
		}
		if v.Sep == nil || v.Cls == nil {
			return nil, raw.lacks("sep or cls")
		}
		return &frame{[]int64{v.Cls.id}, []int64{v.Sep.id}}, nil
	case "TemplateProcessing":
		return readTemplate(raw)
	}
	return nil, fmt.Errorf("the post-processor %q is not supported", kind)
}

func readFrames(raw component) (*frame, error) {
	var v struct {
		Type       string
		Processors []component
	}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	all := &frame{}
	for _, c := range v.Processors {
		f, err := readFrame(c)
		if err != nil {
			return nil, err
		}
		if all.size() > 0 && f.size() > 0 {
			return nil, errors.New("post-processor Sequence: two post-processors add tokens")
		}
		if f.size() > 0 {
			all = f
		}
	}
	return all, nil
}

func (f *frame) size() int { return len(f.before) + len(f.after) }

func readTemplate(raw component) (*frame, error) {
	var v struct {
		Type   string
		Single []struct {
			Sequence *struct {
				ID     string
				TypeID int `json:"type_id"`
			}
			SpecialToken *struct {
				ID     string
				TypeID int `json:"type_id"`
			}
		}
		Pair          json.RawMessage // of no effect on single texts
		SpecialTokens map[string]struct {
			ID     string
			IDs    []uint32
			Tokens []string
		} `json:"special_tokens"`
	}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	f := &frame{}
	seen := false
	for _, p := range v.Single {
		switch {
		case p.Sequence != nil && (p.Sequence.ID != "A" || seen):
			return nil, errors.New("TemplateProcessing: single has more than the sequence A")
		case p.Sequence != nil:
			seen = true
		case p.SpecialToken == nil:
			return nil, errors.New("TemplateProcessing: a part of single is neither a Sequence nor a SpecialToken")
		default:
			t, ok := v.SpecialTokens[p.SpecialToken.ID]
			if !ok {
				return nil, fmt.Errorf("TemplateProcessing: special_tokens lacks %q", p.SpecialToken.ID)
			}
			for _, id := range t.IDs {
				if seen {
					f.after = append(f.after, int64(id))
				} else {
					f.before = append(f.before, int64(id))
				}
			}
		}
	}
	if !seen {
		return nil, errors.New("TemplateProcessing: single lacks the sequence A")
	}
	return f, nil
}
