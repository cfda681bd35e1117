package layout

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestTerms(t *testing.T) {
	for text, want := range map[string][]string{
		"A red apple, 42!":      {"red", "apple"},
		"l'été à Paris":         {"l'été", "Paris"},
		"Äpfel und Bäume":       {"Äpfel", "und", "Bäume"},
		"ＡＢＣ ﬁsh":               {"ABC", "fish"},
		"תפוח אדום":             {"תפוח", "אדום"},
		"красное яблоко":        {"красное", "яблоко"},
		"りんご":                   {"りん", "りんご", "んご"},
		"猫と犬":                   {"猫", "犬"},
		"カメラの写真":                {"カメラ", "写真"},
		"我爱北京":                  {"我爱", "我爱北", "我爱北京", "爱北", "爱北京", "北京"},
		"":                      nil,
		" \x00 \xff — 😀 1 2 3 ": nil,
	} {
		var got []string
		terms(text, func(s string) { got = append(got, s) })
		if text == "猫と犬" || text == "カメラの写真" { // a particle by itself is no word
			got = slices.DeleteFunc(got, func(s string) bool { return s == "と" || s == "の" })
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	captions := [][]string{
		{"A red apple on a table", "Apple pie", "an apple", "green Apple, cut", "a pear"},
		{"A dog in the park", "the dog sleeps", "Hunde im Park", "a Dog and a cat", "dog"},
		{"赤いりんごの写真", "りんごを食べる", "青いりんご", "りんごの木"},
		{"富士山の写真", "夏の富士山", "富士山と湖", "海の写真"},
		{"Rotes Auto", "Ein Auto", "das Auto fährt", "Auto"},
		{"ช้างในป่า", "ช้างตัวใหญ่", "ลูกช้าง", "ช้าง"},
	}
	want := []string{"apple", "dog", "りんご", "富士山", "Auto", "ช้าง"}
	var first [][]string
	for range 5 { // maps come in any order
		c := NewCaptions(len(captions))
		for k, texts := range captions {
			for _, s := range texts {
				c.Add(int32(k), s)
				c.Add(-1, s)
			}
		}
		names := c.Names(2)
		if first == nil {
			first = names
		}
		for k, w := range want {
			if len(names[k]) == 0 || names[k][0] != w && names[k][0] != "Apple" {
				t.Errorf("cluster %d is called %q, want %q first", k, names[k], w)
			}
			if !slices.Equal(names[k], first[k]) {
				t.Errorf("cluster %d is called %q and %q", k, first[k], names[k])
			}
		}
	}
}

func TestCaptionsAreBounded(t *testing.T) {
	c := NewCaptions(2)
	c.most = 1000
	for i := range 20000 {
		c.Add(int32(i%2), fmt.Sprintf("word%d %s", i, []string{"apple", "pear"}[i%2]))
		if c.kept > 1001 {
			t.Fatalf("%d counts are kept", c.kept)
		}
	}
	if names := c.Names(1); !slices.Equal(names[0], []string{"apple"}) || !slices.Equal(names[1], []string{"pear"}) {
		t.Errorf("names %q", names)
	}
}

func TestNamesByFunctions(t *testing.T) {
	got := NamesByFunctions([]float64{0.2, 3, 1.5, 0.9, math.NaN(), -2, 1, 1, 7}, []string{"coins", "fruit", "music"}, 2)
	want := [][]string{{"fruit", "music"}, nil, {"music", "coins"}}
	for k := range want {
		if !slices.Equal(got[k], want[k]) {
			t.Errorf("cluster %d: %q, want %q", k, got[k], want[k])
		}
	}
}
