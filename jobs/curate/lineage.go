package curate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"winnow/io/manifest"
	"winnow/io/store"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// definition is the batch's entry of the config as JSON. Files of ids stand there
// by what they say, so that it does not depend on where they are.
func (r *rows) definition(b chosenBatch) (string, error) {
	def := b.Batch
	def.Exclude = slices.Clone(def.Exclude)
	for i, x := range def.Exclude {
		if x.IDs != "" {
			def.Exclude[i].IDs = r.ids[idsKey{b.Name, i}].digest
		}
	}
	raw, err := json.Marshal(def)
	return string(raw), err
}

// info is the batch's lineage: everything that it depends on.
func (r *rows) info(b chosenBatch, slot string, p *picked) (*manifest.BatchInfo, error) {
	def, err := r.definition(b)
	if err != nil {
		return nil, err
	}
	info := &manifest.BatchInfo{Name: b.Name, Slot: slot, Run: r.w.App.Run, Program: "winnow " + r.w.App.Version,
		ConfigHash: task.NewHash().Add(def).Sum(), Funnel: p.funnel}
	if info.Settings, err = r.settings(b); err != nil {
		return nil, err
	}
	for _, root := range sortedKeys(r.tables) {
		info.Tables = append(info.Tables, manifest.TableVersion{Table: root, Version: r.tables[root]})
	}
	for _, e := range r.w.Config.Embeddings {
		info.Models = append(info.Models, manifest.ModelInfo{Embedding: e.Name, Model: e.MadeBy(), Fingerprint: r.live[e.Name].Fingerprint})
	}
	for _, f := range r.functions {
		info.Functions = append(info.Functions, manifest.FunctionInfo{Name: f.Name, Version: f.Version, Embedding: f.Space(), Combine: string(f.How()), Shares: f.shares, Threshold: f.Finite()})
	}
	return info, nil
}

// settings says how the rows of a batch are chosen: all of its definition but
// what becomes of them.
func (r *rows) settings(b chosenBatch) (list []manifest.Setting, err error) {
	add := func(name string, v any) {
		text, ok := v.(string)
		if !ok {
			var raw []byte
			if raw, err = json.Marshal(v); err != nil {
				return
			}
			text = string(raw)
		}
		list = append(list, manifest.Setting{Name: name, Value: text})
	}
	if b.Where != "" {
		add("where", b.Where)
	}
	for _, c := range b.Conditions {
		add("where", c)
	}
	for i, x := range b.Exclude {
		if x.IDs != "" {
			add("exclude", "ids "+baseName(x.IDs)+" "+r.ids[idsKey{b.Name, i}].digest[:12])
			continue
		}
		add("exclude", x)
	}
	if d := b.Dedupe; d != nil {
		var parts []string
		if d.Embedding != "" {
			parts = append(parts, fmt.Sprintf("%s at %v", d.Embedding, d.Distance))
		}
		if d.PHash != nil {
			parts = append(parts, fmt.Sprintf("looks at %d bits", *d.PHash))
		}
		add("dedupe", strings.Join(parts, ", ")+", keep "+d.Keep)
	}
	for _, q := range b.Quotas {
		add("quota", q)
	}
	for _, o := range b.Select {
		add("select", o)
	}
	if len(b.Spaces()) > 0 {
		add("stay away", cmp.Or(b.StayAway, "batched"))
	}
	if b.Proportion > 0 {
		add("proportion", b.Proportion)
	} else {
		add("size", b.Size)
	}
	return list, err
}

// lineageLimit bounds a lineage.json that is read back.
const lineageLimit = 16 << 20

// same makes sure that the batch which a named slot holds was chosen by the
// definition that the config has now: a slot is one round of one batch.
func (r *rows) same(ctx context.Context, b chosenBatch, slot, dir string) error {
	raw, err := r.w.Store.Read(ctx, dir+"/lineage.json", lineageLimit)
	if errors.Is(err, store.ErrNotFound) {
		return nil // its files were taken away; the batched table knows its rows
	}
	if err != nil {
		return err
	}
	var was manifest.BatchInfo
	if err := json.Unmarshal(raw, &was); err != nil {
		return fmt.Errorf("%s/lineage.json is damaged: %w", dir, err)
	}
	now, err := r.settings(b)
	if err != nil {
		return err
	}
	if slices.Equal(was.Settings, now) {
		return nil
	}
	return &pipeline.UsageError{Problems: []pipeline.Problem{r.w.Config.Problem(b.path+".name",
		fmt.Sprintf("the batch %s of slot %s was chosen by another definition: %s", b.Name, slot, differ(was.Settings, now)),
		"choose another --slot for a new round, another name for another batch, or undo the change")}}
}

// differ says which settings differ.
func differ(was, now []manifest.Setting) string {
	values := func(list []manifest.Setting) map[string]string {
		m := map[string]string{}
		for _, s := range list {
			if m[s.Name] != "" {
				m[s.Name] += " and "
			}
			m[s.Name] += s.Value
		}
		return m
	}
	a, b := values(was), values(now)
	names := map[string]bool{}
	for _, list := range [][]manifest.Setting{was, now} {
		for _, s := range list {
			names[s.Name] = true
		}
	}
	or := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	var parts []string
	for _, n := range sortedKeys(names) {
		if a[n] != b[n] {
			parts = append(parts, fmt.Sprintf("%s was %s, is %s", n, or(a[n]), or(b[n])))
		}
	}
	return strings.Join(parts, "; ")
}
