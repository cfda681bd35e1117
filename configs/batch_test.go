package configs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// oneBatch is a config whose batch has the given keys.
func oneBatch(t *testing.T, keys string) (*Config, []string) {
	t.Helper()
	tree(t, good("winnow.yaml", strings.Replace(goodConfig[:strings.Index(goodConfig, "  - name: fruit")], "functions:",
		"predictions: [{model: v1, manifest: p.jsonl}]\nfunctions:", 1)+"  - {name: b, "+keys+"}\n", "done.txt", "a\n"))
	if ps := problems(t, "winnow.yaml", nil); ps != nil {
		return nil, ps
	}
	c, err := Load("winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, nil
}

const anySelect = "select: [{random: {}}], size: 3"

func TestBatchMistakes(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{anySelect + ", proportion: 0.1", "size and proportion are both given; keep one"},
		{"size: 3", "entry 1 of batches lacks select; add select:"},
		{"size: 3, select: [{ordered: {by: label}}, {random: {}}]", "so it stands last; move it to the end"},
		{"size: 3, select: [{weights: {by: ripe_apples, strength: 0}}]", "with strength 0 the objective has no effect"},
		{"size: 3, select: [{diversity: {embedding: image, strength: -1}}]", "strength is -1"},
		{"size: 3, select: [{weights: ripe_aples}]", `there is no function "ripe_aples"; did you mean ripe_apples?`},
		{"size: 3, select: [{typicality: {embedding: imag}}]", `there is no embedding "imag"; did you mean image?`},
		{"size: 3, select: [{similarity: {to: ripe}}]", `there is no function "ripe"`},
		{"size: 3, select: [{similarity: {to: {embedding: image, assets: []}}}]", "assets is an empty list"},
		{"size: 3, select: [{similarity: {to: {embedding: txt, assets: [a]}}}]", `there is no embedding "txt"`},
		{"size: 3, select: [{balance: {by: metadata.x, target: even}}]", `target is "even"; write uniform or input`},
		{"size: 3, select: [{balance: {by: metadata.x, target: {a: 0.7, b: 0.5}}}]", "the shares add up to 1.2; lower them"},
		{"size: 3, select: [{balance: {by: metadata.x, target: {a: 2}}}]", "a is 2; write"},
		{"size: 3, select: [{balance: {by: metadata.x, target: {a: 0.5}}}], quotas: [{per: metadata.x, share: 0.2}]", "wants 0.5 of the batch to be a, and this quota allows 0.2"},
		{anySelect + ", quotas: [{per: labl, at_most: 3}]", `there is no column "labl"; did you mean label?`},
		{anySelect + ", quotas: [{per: label}]", "a quota has no cap; add at_most: 50 or share: 0.2"},
		{anySelect + ", quotas: [{per: label, at_most: 3}, {per: label, share: 0.1}]", "entries 1 and 2 of quotas are both per label"},
		{anySelect + ", dedupe: {embedding: image}", "embedding and distance go together"},
		{anySelect + ", dedupe: {keep: first}", "dedupe says nothing"},
		{anySelect + ", dedupe: {phash: 3, keep: typical}", "what is typical is measured in an embedding"},
		{anySelect + ", dedupe: {phash: 65}", "phash is 65"},
		{anySelect + ", exclude: [batchd]", `entry 1 of exclude is "batchd"; did you mean batched?`},
		{anySelect + ", exclude: [batched, batched]", "exclude names the same twice"},
		{anySelect + ", exclude: [{ids: none.txt}]", "there is no file none.txt; name a file of asset ids"},
		{anySelect + ", exclude: [{ids: .}]", "is a folder"},
		{anySelect + ", exclude: [{ids: done.txt, batch: x}]", "entry 1 of exclude has 2 of batch or ids"},
		{anySelect + ", exclude: [{id: done.txt}]", `"id" is no key of entry 1 of exclude; did you mean ids?`},
		{anySelect + ", stay_away: batched", "to stay away is measured by a diversity"},
		{anySelect + ", stay_away: labeled", "to stay away is measured by a diversity"},
		{anySelect + ", stay_away: known", `stay_away is "known"`},
		{"size: 3, select: [{ordered: {by: label, descending: 1}}]", `descending is "1"; write true or false`},
	} {
		_, ps := oneBatch(t, c.keys)
		if len(ps) != 1 || !strings.Contains(ps[0], c.want) || !strings.HasPrefix(ps[0], "winnow.yaml:14:") {
			t.Errorf("%s:\n got %s\nwant %s", c.keys, strings.Join(ps, "\n     "), c.want)
		}
	}
}

func TestSelectionConfig(t *testing.T) {
	lightly := func(strategies string) string {
		return "selection_config: {n_samples: 5, strategies: [" + strategies + "]}"
	}
	for _, c := range []struct {
		keys       string
		want       []Objective
		conditions []string
	}{
		{lightly(`{input: {type: EMBEDDINGS}, strategy: {type: DIVERSITY, stopping_condition_minimum_distance: 0.2, strength: 0.6}}`),
			[]Objective{{Diversity: &Diversity{Embedding: "image", MinDistance: 0.02, Strength: 0.3}}}, nil},
		{lightly(`{input: {type: EMBEDDINGS}, strategy: {type: TYPICALITY, num_nearest_neighbors: 7, strength: -2}}`),
			[]Objective{{Typicality: &Typicality{Embedding: "image", Neighbors: 7, Strength: -2}}}, nil},
		{lightly(`{input: {type: SCORES, task: v1, score: uncertainty_least_confidence}, strategy: {type: WEIGHTS}}`),
			[]Objective{{Weights: &Weights{By: "1 - confidence"}}}, nil},
		{lightly(`{input: {type: METADATA, key: weather.temp}, strategy: {type: WEIGHTS, strength: 2}}`),
			[]Objective{{Weights: &Weights{By: `metadata."weather"."temp"`, Strength: 2}}}, nil},
		{lightly(`{input: {type: METADATA, key: speed}, strategy: {type: THRESHOLD, threshold: 20.5, operation: SMALLER_EQUAL}}`),
			[]Objective{{Random: &Random{Seed: 1}}}, []string{`metadata."speed" <= 20.5`}},
		{lightly(`{input: {type: PREDICTIONS, task: v1, name: CLASS_DISTRIBUTION}, strategy: {type: BALANCE, target: {car: 0.5}}}`),
			[]Objective{{Balance: &Balance{By: "prediction", Target: BalanceTarget{Shares: map[string]float64{"car": 0.5}}}}}, nil},
		{lightly(`{input: {type: METADATA, key: k}, strategy: {type: BALANCE, distribution: INPUT}}`),
			[]Objective{{Balance: &Balance{By: `metadata."k"`, Target: BalanceTarget{Word: "input"}}}}, nil},
		{lightly(`{input: {type: RANDOM, random_seed: 9}, strategy: {type: WEIGHTS}}`), []Objective{{Random: &Random{Seed: 9}}}, nil},
	} {
		cfg, ps := oneBatch(t, c.keys)
		if ps != nil {
			t.Errorf("%s: %s", c.keys, strings.Join(ps, "\n"))
			continue
		}
		b := cfg.Batches[0]
		if d := cmp.Diff(c.want, b.Select, cmpopts.EquateApprox(0, 1e-12)); d != "" || b.Size != 5 {
			t.Errorf("%s: size %d, -want +got:\n%s", c.keys, b.Size, d)
		}
		if d := cmp.Diff(c.conditions, b.Conditions); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.keys, d)
		}
	}
	for _, c := range []struct{ keys, want string }{
		{lightly(`{input: {type: EMBEDDINGS, dataset_id: x, tag_name: y}, strategy: {type: SIMILARITY}}`), "dataset_id cannot be honoured here; the assets to compare with must be in this workspace: write select: [{similarity:"},
		{lightly(`{input: {type: EMBEDDINGS}, strategy: {type: SIMILARITY}}`), "SIMILARITY looks into a dataset of LightlyOne's; write select"},
		{lightly(`{input: {type: EMBEDDINGS, task: t}, strategy: {type: DIVERSITY}}`), "task is no key of EMBEDDINGS"},
		{lightly(`{input: {type: EMBEDDINGS}, strategy: {type: DIVERSITY, strength: -1}}`), "diversity has no opposite here; write select: [{typicality"},
		{lightly(`{input: {type: EMBEDDINGS}, strategy: {type: WEIGHTS}}`), "WEIGHTS does not go with EMBEDDINGS here"},
		{lightly(`{input: {type: SCORES, task: v1, score: object_frequency}, strategy: {type: WEIGHTS}}`), `the score "object_frequency" needs more`},
		{lightly(`{input: {type: SCORES, task: v2, score: uncertainty_least_confidence}, strategy: {type: WEIGHTS}}`), `there are no predictions of a model "v2"; did you mean v1?`},
		{lightly(`{input: {type: METADATA, key: lightly.sharpness}, strategy: {type: WEIGHTS}}`), "lightly.sharpness is computed by LightlyOne's worker; put the number into"},
		{lightly(`{input: {type: METADATA, key: a}, strategy: {type: THRESHOLD, threshold: 1}}`), "THRESHOLD needs a threshold and an operation"},
		{lightly(`{input: {type: METADATA, key: a}, strategy: {type: WEIGHTS, stopping_condition_max_sum: 1}}`), "stopping_condition_max_sum cannot be honoured here; write a size"},
		{lightly(`{input: {type: METADATA, key: a}, strategy: {type: BALANCE, target: {a: 0.9, b: 0.3}}}`), "the shares add up to 1.2"},
		{lightly(`{input: {type: PREDICTIONS, task: v1, name: CATEGORY_COUNT}, strategy: {type: BALANCE, distribution: UNIFORM}}`), "CATEGORY_COUNT counts objects"},
		{lightly(`{input: {type: RANDOM}, strategy: {type: WEIGHTS}}`) + ", size: 3", "size stands beside a selection_config"},
		{"selection_config: {strategies: [{input: {type: RANDOM}, strategy: {type: WEIGHTS}}]}", "does not say how many rows to choose"},
		{"selection_config: {n_samples: 3, proportion_samples: 0.1, strategies: [{input: {type: RANDOM}, strategy: {type: WEIGHTS}}]}", "n_samples and proportion_samples are both given"},
		{"selection_config: {nSamples: 3, strategies: [{input: {type: RANDOM}, strategy: {type: WEIGHTS}}]}", `"nSamples" is no key of selection_config; did you mean n_samples?`},
	} {
		_, ps := oneBatch(t, c.keys)
		if !strings.Contains(strings.Join(ps, "\n"), c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.keys, strings.Join(ps, "\n     "), c.want)
		}
	}
}

// TestBatchJSON sends every form of a batch through JSON, as a plan does.
func TestBatchJSON(t *testing.T) {
	c, err := Load("examples/full.yaml", lookup(exampleEnv))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(c.Batches)
	if err != nil {
		t.Fatal(err)
	}
	var back []Batch
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Batches, back); d != "" {
		t.Errorf("-before +after:\n%s", d)
	}
	if !strings.Contains(string(raw), `"exclude":["batched","labeled",{"batch":"overview"},{"ids":"`) {
		t.Errorf("exclude is written otherwise: %s", raw)
	}
}
