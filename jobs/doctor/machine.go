package doctor

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"winnow/configs"
)

const devices = "devices"

// deviceChecks looks at the processor, the memory and the GPUs of the machine.
func deviceChecks(cfg *configs.Config, g *GPUs) []Check {
	return slices.Concat(cpuChecks(), memoryChecks(cfg), g.checks())
}

// cpu is what /proc/cpuinfo says of the first processor.
type cpu struct {
	model    string
	features []string // those that the libraries have kernels for, from old to new
}

// known are the features worth naming, by the names of Linux.
var known = []string{"sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "asimddp", "sve"}

func parseCPU(cpuinfo string) cpu {
	var c cpu
	for sc := bufio.NewScanner(strings.NewReader(cpuinfo)); sc.Scan(); {
		key, value, _ := strings.Cut(sc.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name":
			if c.model == "" {
				c.model = value
			}
		case "flags", "Features":
			if c.features == nil {
				has := strings.Fields(value)
				for _, k := range known {
					if slices.Contains(has, k) {
						c.features = append(c.features, k)
					}
				}
			}
		}
	}
	return c
}

func cpuChecks() []Check {
	text, err := os.ReadFile("/proc/cpuinfo")
	c := parseCPU(string(text))
	if c.model == "" {
		c.model = runtime.GOARCH
	}
	cores := fmt.Sprintf("%s, %s", c.model, count(runtime.GOMAXPROCS(0), "core"))
	if n := runtime.NumCPU(); n != runtime.GOMAXPROCS(0) {
		cores += fmt.Sprintf(" of %d allowed", n)
	}
	out := []Check{ok(devices, "processor", "%s", cores)}
	if err != nil || len(c.features) == 0 {
		return out // another system than Linux: nothing is known
	}
	features := strings.Join(c.features, " ")
	if runtime.GOARCH == "amd64" && !slices.Contains(c.features, "avx2") {
		return append(out, warn(devices, "features", "use a machine with AVX2 (x86-64-v3)", "%s: no AVX2, so models and scores are several times slower", features))
	}
	return append(out, ok(devices, "features", "%s", features))
}

// memory is in bytes; limit is MaxUint64 without one.
type memory struct{ total, available, limit, used uint64 }

func parseMeminfo(text string) (m memory) {
	m.limit = math.MaxUint64
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			m.total = n << 10
		case "MemAvailable:":
			m.available = n << 10
		}
	}
	return m
}

// free is what this process may take.
func (m memory) free() uint64 {
	if m.limit == math.MaxUint64 || m.limit < m.used {
		return m.available
	}
	return min(m.available, m.limit-m.used)
}

// readMemory reads the machine's memory and the container's limit. Where the
// latter stands depends on the version of control groups.
func readMemory() (memory, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return memory{}, err
	}
	m := parseMeminfo(string(text))
	for _, at := range [][2]string{
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
	} {
		limit, used := readNumber(at[0]), readNumber(at[1])
		if limit > 0 && limit < m.total {
			m.limit, m.used = limit, used
		}
	}
	return m, nil
}

func readNumber(file string) uint64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0 // "max"
	}
	return n
}

func memoryChecks(cfg *configs.Config) []Check {
	m, err := readMemory()
	if err != nil {
		return []Check{ok(devices, "memory", "not known on this system")}
	}
	wanted := uint64(2 << 30)
	if cfg != nil {
		wanted = uint64(cfg.Limits.Memory)
	}
	return []Check{judgeMemory(m, wanted)}
}

// judgeMemory compares the memory with the database's limit. The models and the
// vectors of a task need about a gibibyte beside it.
func judgeMemory(m memory, database uint64) Check {
	const beside = 1 << 30
	what := fmt.Sprintf("%s free of %s", size(m.free()), size(m.total))
	if m.limit < m.total {
		what = fmt.Sprintf("%s free of the container's %s", size(m.free()), size(m.limit))
	}
	if m.free() < database+beside {
		return warn(devices, "memory", "lower limits.memory in the config (it spills to disk), or give the machine more memory",
			"%s; the database may take %s, and a run about %s beside it", what, size(database), size(beside))
	}
	return ok(devices, "memory", "%s", what)
}
