package argo

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/pipeline"
)

var (
	dnsName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	dnsPath  = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	quantity = regexp.MustCompile(`^[0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`)
	imageRef = regexp.MustCompile(`^[A-Za-z0-9][^\s]*$`)
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	cron     = regexp.MustCompile(`^(@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)|[-0-9*/,?A-Za-z]+( +[-0-9*/,?LW#A-Za-z]+){4})$`)
)

// checks gathers what is wrong with flags and config.
type checks struct{ problems []pipeline.Problem }

func (k *checks) add(format string, args ...any) {
	what, fix, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	k.problems = append(k.problems, pipeline.Problem{What: what, Fix: fix})
}

func (k *checks) flags(c *Cmd) {
	// 40 characters leave room for what Argo and the schedule append.
	if !dnsName.MatchString(c.Name) {
		k.add("--name %q is no name in Kubernetes; use small letters, digits and -, at most 40", c.Name)
	}
	for _, n := range []struct{ flag, value string }{{"--namespace", c.Namespace}, {"--service-account", c.ServiceAccount}} {
		if n.value != "" && !dnsPath.MatchString(n.value) {
			k.add("%s %q is no name in Kubernetes; use small letters, digits, . and -", n.flag, n.value)
		}
	}
	for _, s := range c.Secret {
		if !dnsPath.MatchString(s) {
			k.add("--secret %q is no name in Kubernetes; use small letters, digits, . and -", s)
		}
	}
	for _, q := range []struct{ flag, value string }{{"--cpu", c.CPU}, {"--memory", c.Memory}, {"--scratch", c.Scratch}} {
		if !quantity.MatchString(q.value) {
			k.add("%s %q is no quantity in Kubernetes; write a number such as 2, 500m or 4Gi", q.flag, q.value)
		}
	}
	if !imageRef.MatchString(c.Image) {
		k.add("--image %q is no image; write one such as registry/winnow:1.0", c.Image)
	}
	if c.Schedule != "" && !cron.MatchString(c.Schedule) {
		k.add("--schedule %q is no cron schedule; write five fields such as \"0 3 * * *\"", c.Schedule)
	}
	for _, n := range []struct {
		flag      string
		value, lo int
	}{{"--parallelism", c.Parallelism, 1}, {"--deadline", c.Deadline, 60}, {"--gpu", c.GPU, 0}} {
		if n.value < n.lo {
			k.add("%s is %d; write at least %d", n.flag, n.value, n.lo)
		}
	}
	if c.ConfigPath != "" && !path.IsAbs(c.ConfigPath) {
		k.add("--config-path %q is relative; write the absolute path in the image", c.ConfigPath)
	}
}

func (k *checks) claims(list []string) []claim {
	var out []claim
	for i, s := range list {
		name, dir, ok := strings.Cut(s, ":")
		if !ok || !dnsPath.MatchString(name) || !path.IsAbs(dir) {
			k.add("--claim %q is not understood; write NAME:/PATH", s)
			continue
		}
		if dir = path.Clean(dir); dir == "/" || dir == "/tmp" || dir == configDir {
			k.add("--claim %q takes a path that the pods need; choose another path", s)
			continue
		}
		out = append(out, claim{Volume: fmt.Sprintf("claim-%d", i), Claim: name, Path: dir})
	}
	return out
}

// env is what the pods get: the variables that the config refers to, with their
// values of now, and those of the flags, which win.
func (k *checks) env(cfg *configs.Config, given map[string]string) []envVar {
	all := map[string]string{}
	for name, value := range cfg.Env {
		all[name] = value
	}
	for name, value := range given {
		if !envName.MatchString(name) {
			k.add("--env %q is no variable; write NAME=VALUE", name)
		}
		all[name] = value
	}
	var out []envVar
	for name, value := range all {
		if strings.Contains(value, "{{") {
			k.add("the variable %s holds {{, which Argo takes for an expression of its own; put it into a Secret and pass --secret", name)
		}
		out = append(out, envVar{name, value})
	}
	slices.SortFunc(out, func(a, b envVar) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// reachable looks for places that a pod does not see: local paths outside the
// claims. With the config in the image, its files may be there too, but never
// the workspace, which all pods share.
func (k *checks) reachable(cfg *configs.Config, claims []claim, baked bool) {
	local := func(p string) bool {
		return strings.HasPrefix(p, "/") && !slices.ContainsFunc(claims, func(c claim) bool { return p == c.Path || strings.HasPrefix(p, c.Path+"/") })
	}
	bad := func(p pipeline.Problem) { k.problems = append(k.problems, p) }
	const share = "use a bucket, or a volume that all pods share: --claim NAME:/PATH"
	switch {
	case local(cfg.Workspace):
		bad(cfg.Problem("$.workspace", "the workspace is a folder of this machine, and pods have none of its folders", share))
	case strings.HasPrefix(cfg.Workspace, "mem://"):
		bad(cfg.Problem("$.workspace", "a workspace in memory ends with its pod", share))
	}
	if baked {
		return
	}
	const have = "put it into a bucket or onto a volume (--claim NAME:/PATH), or bake config and files into the image (--config-path)"
	for i, s := range cfg.Sources {
		if local(s.Manifest) {
			bad(cfg.Problem(fmt.Sprintf("$.sources[%d].manifest", i), "the manifest is a file of this machine, which pods do not see", have))
		}
	}
	for i, l := range cfg.Labels {
		if local(l.Manifest) {
			bad(cfg.Problem(fmt.Sprintf("$.labels[%d].manifest", i), "the manifest is a file of this machine, which pods do not see", have))
		}
	}
	for i, p := range cfg.Predictions {
		if local(p.Manifest) {
			bad(cfg.Problem(fmt.Sprintf("$.predictions[%d].manifest", i), "the manifest is a file of this machine, which pods do not see", have))
		}
	}
	for i, e := range cfg.Embeddings {
		if local(e.Model) {
			bad(cfg.Problem(fmt.Sprintf("$.embeddings[%d].model", i), "the model's spec is a file of this machine, which pods do not see", have))
		}
		if v := e.Vectors; v != nil && (local(v.Files) || local(v.IDs)) {
			bad(cfg.Problem(fmt.Sprintf("$.embeddings[%d].vectors", i), "the vectors are files of this machine, which pods do not see", have))
		}
	}
	for _, f := range cfg.Definitions {
		k.anchors(f, local, have)
	}
}

func (k *checks) anchors(f *configs.Function, local func(string) bool, fix string) {
	for i, a := range f.Anchors.Positive {
		k.anchor(f, fmt.Sprintf("$.anchors.positive[%d]", i), a.URI, a.Vector, local, fix)
	}
	for i, a := range f.Anchors.Negative {
		k.anchor(f, fmt.Sprintf("$.anchors.negative[%d]", i), a.URI, a.Vector, local, fix)
	}
}

func (k *checks) anchor(f *configs.Function, at, uri, vector string, local func(string) bool, fix string) {
	for _, x := range []struct{ key, path string }{{"uri", uri}, {"vector", vector}} {
		key, p := x.key, x.path
		if p == "" || strings.Contains(p, "://") && !strings.HasPrefix(p, "file://") {
			continue
		}
		if p = strings.TrimPrefix(p, "file://"); !path.IsAbs(p) || local(p) {
			k.problems = append(k.problems, f.Problem(at+"."+key, "the anchor is a file of this machine, which pods do not see", fix))
		}
	}
}
