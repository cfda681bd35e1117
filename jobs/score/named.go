package score

import (
	"os"
	"path/filepath"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Named finds a function: of the config by its name, or a file by its path.
func Named(w *workspace.Workspace, name string) (*configs.Function, error) {
	if f, ok := w.Config.Function(name); ok {
		return f, nil
	}
	if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" || strings.ContainsRune(name, os.PathSeparator) {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		fns, err := configs.LoadFunctions(filepath.Dir(abs), []string{abs}, w.App.Getenv, w.Config.Definitions...)
		if err != nil {
			return nil, err
		}
		if len(fns) != 1 {
			return nil, pipeline.Usagef("%s names %d functions; name one file", name, len(fns))
		}
		return fns[0], nil
	}
	var known []string
	for _, f := range w.Config.Definitions {
		known = append(known, f.Name)
	}
	if len(known) == 0 {
		return nil, pipeline.Usagef("there is no function %q: the config has none; make one with: winnow function new", name)
	}
	return nil, pipeline.Usagef("there is no function %q; the config has %s. A file is named by its path, such as functions/%s.yaml", name, strings.Join(known, ", "), name)
}
