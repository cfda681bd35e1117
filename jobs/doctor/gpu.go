package doctor

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"winnow/configs"
	"winnow/models/image"
	"winnow/models/onnx"
)

// GPUs is what there is of GPUs, and what the config's device makes of it.
type GPUs struct {
	Providers []string `json:"providers"` // execution providers that ONNX Runtime was built with
	Driver    string   `json:"driver"`    // version of NVIDIA's driver, empty without one
	Serves    string   `json:"serves"`    // the newest CUDA that the driver serves
	CUDA      string   `json:"cuda"`      // version of the CUDA runtime, empty without one
	CuDNN     string   `json:"cudnn"`     // version of cuDNN, empty without one
	Cards     []Card   `json:"cards"`     // the GPUs
	Device    string   `json:"device"`    // what the config asks for
	Takes     []string `json:"takes"`     // where models run
	Why       string   `json:"why"`       // what keeps them from a GPU, or the device from working

	missing string // why there is no driver
	err     error  // the device does not work
}

// Card is a GPU.
type Card struct {
	Name    string `json:"name"`
	Memory  uint64 `json:"memory"` // bytes
	Compute string `json:"compute"`
}

func readGPUs(cfg *configs.Config) *GPUs {
	g := &GPUs{Device: "auto"}
	if cfg != nil && cfg.Device != "" {
		g.Device = cfg.Device
	}
	g.Providers, _ = onnx.Providers() // without the library, its own check fails
	g.CUDA, g.CuDNN = onnx.CUDAVersions()
	d, err := onnx.ReadDriver()
	if err != nil {
		g.missing = err.Error()
	} else {
		text, _ := os.ReadFile("/proc/driver/nvidia/version")
		g.Serves = onnx.CUDAVersion(d.Version)
		g.Driver = driverVersion(string(text))
		for _, c := range d.GPUs {
			g.Cards = append(g.Cards, Card{c.Name, c.Memory, fmt.Sprintf("%d.%d", c.Major, c.Minor)})
		}
	}
	list, why, err := onnx.Devices(g.Device)
	for _, x := range list {
		g.Takes = append(g.Takes, x.String())
	}
	if g.Why, g.err = why, err; err != nil {
		g.Why = err.Error()
	}
	return g
}

var versionRE = regexp.MustCompile(`\b\d{3,}\.\d+(\.\d+)?\b`)

// driverVersion finds the version in what Linux's module of the driver says.
func driverVersion(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if v := versionRE.FindString(line); v != "" {
		return v
	}
	return "of an unknown version"
}

func (g *GPUs) checks() []Check {
	driver := strings.Replace(g.missing, "no NVIDIA driver:", "none:", 1)
	if g.Serves != "" {
		driver = fmt.Sprintf("%s, for CUDA up to %s", g.Driver, g.Serves)
	}
	out := []Check{ok(devices, "NVIDIA driver", "%s", driver)}
	for i, c := range g.Cards {
		out = append(out, ok(devices, fmt.Sprintf("GPU %d", i), "%s, %s, compute capability %s", c.Name, size(c.Memory), c.Compute))
	}
	or := func(v string) string {
		if v == "" {
			return "none found"
		}
		return v
	}
	out = append(out, ok(devices, "CUDA", "%s", or(g.CUDA)), ok(devices, "cuDNN", "%s", or(g.CuDNN)))
	return append(out, g.judge())
}

// judge says where models run, and why not on a GPU.
func (g *GPUs) judge() Check {
	const name = "device"
	takes := strings.Join(g.Takes, ", ")
	switch {
	case g.err != nil:
		return failed(devices, name, g.err, "write device: cpu")
	case g.Why == "":
		return ok(devices, name, "%s: models run on %s", g.Device, takes)
	case len(g.Cards) == 0: // then the processor is what there is
		return ok(devices, name, "%s: models run on %s, since there is no GPU", g.Device, takes)
	}
	what, fix := g.Why, "write device: cpu"
	if i := strings.LastIndex(what, "; "); i > 0 {
		what, fix = what[:i], what[i+2:]
	}
	return warn(devices, name, fix, "%s: models run on %s, and the GPU stands idle: %s", g.Device, takes, firstLine(what))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// heifCheck tells of the one library that only some pictures need.
func heifCheck() Check {
	version, heic, avif, err := image.HEIF()
	switch {
	case err != nil:
		return ok(libraries, "libheif", "none, so HEIC and AVIF pictures are rejected: %v", err)
	case !heic || !avif:
		kind := "HEIC"
		if heic {
			kind = "AVIF"
		}
		return ok(libraries, "libheif", "%s, without a decoder of %s", version, kind)
	}
	return ok(libraries, "libheif", "%s, decodes HEIC and AVIF", version)
}
