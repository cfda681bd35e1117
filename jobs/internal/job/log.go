package job

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func level(g Globals) zapcore.Level {
	if g.Verbose {
		return zap.DebugLevel
	}
	return zap.InfoLevel
}

// newLogger logs to w: for people (console) or for machines (JSON).
func newLogger(w io.Writer, console bool, lvl zapcore.Level) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey, c.MessageKey = "time", "message"
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.StringDurationEncoder
	enc := zapcore.NewJSONEncoder(c)
	if console {
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05")
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		c.ConsoleSeparator = "  "
		enc = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), lvl))
}
