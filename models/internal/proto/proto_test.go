package proto

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func message() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 300)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), 0xdeadbeef)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), 1<<40)
	b = protowire.AppendString(protowire.AppendTag(b, 4, protowire.BytesType), "four")
	b = protowire.AppendTag(b, 5, protowire.StartGroupType)
	b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 7)
	b = protowire.AppendTag(b, 5, protowire.EndGroupType)
	return protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 6)
}

func TestWalk(t *testing.T) {
	var got []string
	err := Walk(message(), func(num protowire.Number, v uint64, b []byte) error {
		got = append(got, fmt.Sprintf("%d %d %s", num, v, b))
		return nil
	})
	want := []string{"1 300 ", "2 3735928559 ", "3 1099511627776 ", "4 0 four", "5 0 ", "1 6 "}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, error %v; want %q", got, err, want)
	}
}

func TestWalkEndsAtErrors(t *testing.T) {
	mine := errors.New("enough")
	calls := 0
	err := Walk(message(), func(protowire.Number, uint64, []byte) error {
		calls++
		return mine
	})
	if err != mine || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
	whole := message()
	for n := range whole {
		// A cut between two fields is none that a walk can see.
		fields, size := 0, 0
		err := Walk(whole[:n], func(_ protowire.Number, _ uint64, b []byte) error {
			fields, size = fields+1, size+len(b)
			return nil
		})
		if err == nil && fields == 6 {
			t.Errorf("cut to %d of %d bytes, all fields came out", n, len(whole))
		}
	}
}
