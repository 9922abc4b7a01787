// Blocks writes and shows blocks of Prometheus' store with Prometheus' own packages, so that
// what Vedette reads and writes can be held against them.
//
//	blocks write DIR [st]   makes a block below DIR; with `st` in the encodings that carry start timestamps
//	blocks delete DIR A B   marks samples of the series with shape="decimal" from A to B as deleted
//	blocks show DIR [chunks] prints every sample below DIR; with `chunks` how they are cut into chunks too
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

const (
	startMs = 1_700_000_000_000
	stepMs  = 15_000
	samples = 700
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: blocks write|delete|show DIR ...")
	}
	dir, rest := os.Args[2], os.Args[3:]
	switch os.Args[1] {
	case "write":
		write(dir, len(rest) > 0 && rest[0] == "st")
	case "delete":
		remove(dir, number(rest[0]), number(rest[1]))
	case "show":
		show(dir, len(rest) > 0 && rest[0] == "chunks")
	default:
		log.Fatalf("unknown command %q", os.Args[1])
	}
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A shape is one series: the i-th sample of it, or nothing where it has a gap.
type shape struct {
	name string
	at   func(i int) any
}

func shapes() []shape {
	random := rand.New(rand.NewSource(7))
	total := 0.0
	var exponential, float, custom, gauge, negative, schemas, sparse, mixed counts
	return []shape{
		{"counter", func(i int) any { total += float64(random.Intn(100)); return total }},
		{"decimal", func(i int) any { return math.Round(random.NormFloat64()*1000) / 100 }},
		{"noise", func(int) any { return random.NormFloat64() }},
		{"constant", func(int) any { return 1.0 }},
		{"special", func(i int) any {
			return []any{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 5e-324, math.MaxFloat64, 1e21, 123456.0}[i%8]
		}},
		{"stale", func(i int) any {
			if i%50 == 49 {
				return math.Float64frombits(value.StaleNaN)
			}
			return float64(i)
		}},
		{"gaps", func(i int) any {
			if i%100 > 60 {
				return nil
			}
			return float64(i * i)
		}},
		{"h_integer", func(i int) any {
			// Now and then the source restarts, and now and then it is gone.
			if i%170 == 169 {
				exponential = counts{}
			}
			if i%230 == 229 {
				return &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
			}
			exponential.observe(random, 12)
			return exponential.integer(3, histogram.UnknownCounterReset)
		}},
		{"h_float", func(i int) any {
			if i%170 == 100 {
				float = counts{}
			}
			if i%230 == 120 {
				return &histogram.FloatHistogram{Sum: math.Float64frombits(value.StaleNaN)}
			}
			float.observe(random, 9)
			return float.integer(0, histogram.UnknownCounterReset).ToFloat(nil)
		}},
		{"h_custom", func(i int) any {
			custom.observe(random, 4)
			h := custom.integer(0, histogram.UnknownCounterReset)
			h.Schema, h.ZeroCount, h.ZeroThreshold = histogram.CustomBucketsSchema, 0, 0
			h.NegativeSpans, h.NegativeBuckets = nil, nil
			h.CustomValues = []float64{0.005, 0.25, 1, math.Pi, 33554.430, 33554.431}
			if i < 300 {
				h.CustomValues = []float64{-3, 0.1, 7, 11, 1e9}
			}
			h.Count = 0
			for it := h.PositiveBucketIterator(); it.Next(); {
				h.Count += it.At().Count
			}
			return h
		}},
		{"h_gauge", func(i int) any {
			gauge = counts{}
			for range random.Intn(6) {
				gauge.observe(random, 7)
			}
			return gauge.integer(-1, histogram.GaugeType)
		}},
		{"h_negative", func(i int) any {
			negative.observe(random, 5)
			negative.below[random.Intn(30)]++
			h := negative.integer(8, histogram.UnknownCounterReset)
			h.ZeroThreshold = []float64{0, 0.001, math.Ldexp(1, -128), math.Ldexp(1, -243), 1024, math.Ldexp(1, -244)}[i/120]
			return h
		}},
		{"h_schemas", func(i int) any {
			schemas.observe(random, 5)
			return schemas.integer(int32(i/55)-4, histogram.UnknownCounterReset)
		}},
		{"h_sparse", func(i int) any {
			sparse.observe(random, 200)
			return sparse.integer(5, histogram.UnknownCounterReset)
		}},
		{"h_mixed", func(i int) any {
			mixed.observe(random, 5)
			switch i / 40 % 3 {
			case 0:
				return mixed.integer(2, histogram.UnknownCounterReset)
			case 1:
				return mixed.integer(2, histogram.UnknownCounterReset).ToFloat(nil)
			}
			return float64(i)
		}},
	}
}

// Observations by bucket index.
type counts struct {
	above, below map[int]uint64
	zero         uint64
	sum          float64
}

func (c *counts) observe(random *rand.Rand, buckets int) {
	if c.above == nil {
		c.above, c.below = map[int]uint64{}, map[int]uint64{}
	}
	for range random.Intn(4) {
		c.above[random.Intn(buckets)] += uint64(random.Intn(1000))
		c.sum += random.Float64() * 10
	}
	c.zero += uint64(random.Intn(2))
}

func (c *counts) integer(schema int32, hint histogram.CounterResetHint) *histogram.Histogram {
	h := &histogram.Histogram{CounterResetHint: hint, Schema: schema, ZeroThreshold: 1e-128, ZeroCount: c.zero, Sum: c.sum, Count: c.zero}
	side := func(buckets map[int]uint64) (spans []histogram.Span, deltas []int64) {
		var indexes []int
		for i := range buckets {
			indexes = append(indexes, i)
		}
		sort.Ints(indexes)
		end, before := 0, int64(0)
		for n, i := range indexes {
			if n == 0 || i != end {
				spans = append(spans, histogram.Span{Offset: int32(i - end)})
			}
			spans[len(spans)-1].Length++
			end = i + 1
			deltas = append(deltas, int64(buckets[i])-before)
			before = int64(buckets[i])
			h.Count += buckets[i]
		}
		return spans, deltas
	}
	h.PositiveSpans, h.PositiveBuckets = side(c.above)
	h.NegativeSpans, h.NegativeBuckets = side(c.below)
	return h
}

func write(dir string, starts bool) {
	folder, err := os.MkdirTemp("", "blocks")
	check(err)
	defer os.RemoveAll(folder)
	options := tsdb.DefaultOptions()
	options.RetentionDuration = 0
	if starts {
		options.EnableSTStorage = true
		options.XOR2EncodingAllowed = true
		options.FloatChunkEncoding = chunkenc.EncXOR2
		options.EnableHistogramSTEncoding = true
	}
	db, err := tsdb.Open(folder, nil, nil, options, nil)
	check(err)
	// In order of time, as a sample far behind the newest one is refused.
	all := shapes()
	for i := range samples {
		appender := db.AppenderV2(context.Background())
		for number, shape := range all {
			set := labels.FromStrings("__name__", "shaped", "shape", shape.name, "text", "a\"b\\c\nd é", "utf.8", "yes")
			t := int64(startMs + i*stepMs + (i*7919%5)*number)
			var err error
			switch v := shape.at(i).(type) {
			case nil:
			case float64:
				_, err = appender.Append(0, set, start(starts, number, i, t), t, v, nil, nil, storage.AppendV2Options{})
			case *histogram.Histogram:
				_, err = appender.Append(0, set, start(starts, number, i, t), t, 0, v, nil, storage.AppendV2Options{})
			case *histogram.FloatHistogram:
				_, err = appender.Append(0, set, start(starts, number, i, t), t, 0, nil, v, storage.AppendV2Options{})
			}
			check(err)
		}
		check(appender.Commit())
	}
	check(db.Snapshot(dir, true))
	check(db.Close())
}

// Series differ in whether their start is known, stands still, or moves.
func start(known bool, number, i int, t int64) int64 {
	switch {
	case !known:
	case number%4 == 0:
		return startMs - 5000
	case number%4 == 1:
		return t - stepMs
	case number%4 == 2 && i > 200:
		return startMs + int64(i/90)*90*stepMs
	}
	return 0
}

func blocks(dir string) []*tsdb.Block {
	var found []*tsdb.Block
	entries, err := os.ReadDir(dir)
	check(err)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if _, err := os.Stat(filepath.Join(path, "meta.json")); err == nil {
			block, err := tsdb.OpenBlock(nil, path, nil, nil)
			check(err)
			found = append(found, block)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].MinTime() < found[j].MinTime() })
	return found
}

func remove(dir string, from, to int64) {
	for _, block := range blocks(dir) {
		check(block.Delete(context.Background(), from, to, labels.MustNewMatcher(labels.MatchEqual, "shape", "decimal")))
		check(block.Close())
	}
}

func show(dir string, withChunks bool) {
	for _, block := range blocks(dir) {
		series, err := block.Index()
		check(err)
		data, err := block.Chunks()
		check(err)
		name, value := index.AllPostingsKey()
		all, err := series.Postings(context.Background(), name, value)
		check(err)
		for all.Next() {
			var builder labels.ScratchBuilder
			var metas []chunks.Meta
			check(series.Series(all.At(), &builder, &metas))
			for _, meta := range metas {
				chunk, _, err := data.ChunkOrIterable(meta)
				check(err)
				showChunk(builder.Labels(), chunk, withChunks)
			}
		}
		check(series.Close())
		check(data.Close())
		check(block.Close())
	}
}

func showChunk(set labels.Labels, chunk chunkenc.Chunk, withChunks bool) {
	if withChunks {
		reset := ""
		if h, ok := chunk.(interface {
			GetCounterResetHeader() chunkenc.CounterResetHeader
		}); ok {
			reset = fmt.Sprintf(" reset header %x", byte(h.GetCounterResetHeader()))
		}
		fmt.Printf("%s chunk of %d, %s%s, %x\n", set, chunk.NumSamples(), chunk.Encoding(), reset, chunk.Bytes())
	}
	it := chunk.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		switch kind {
		case chunkenc.ValFloat:
			t, v := it.At()
			fmt.Printf("%s %d start %d float %x\n", set, t, it.AtST(), math.Float64bits(v))
		case chunkenc.ValHistogram:
			t, h := it.AtHistogram(nil)
			fmt.Printf("%s %d start %d integer hint %d schema %d zero %x/%d sum %x count %d positive %v %v negative %v %v bounds %v\n",
				set, t, it.AtST(), h.CounterResetHint, h.Schema, math.Float64bits(h.ZeroThreshold), h.ZeroCount, math.Float64bits(h.Sum), h.Count,
				h.PositiveSpans, h.PositiveBuckets, h.NegativeSpans, h.NegativeBuckets, h.CustomValues)
		case chunkenc.ValFloatHistogram:
			t, h := it.AtFloatHistogram(nil)
			fmt.Printf("%s %d start %d floating hint %d schema %d zero %x/%v sum %x count %v positive %v %v negative %v %v bounds %v\n",
				set, t, it.AtST(), h.CounterResetHint, h.Schema, math.Float64bits(h.ZeroThreshold), h.ZeroCount, math.Float64bits(h.Sum), h.Count,
				h.PositiveSpans, h.PositiveBuckets, h.NegativeSpans, h.NegativeBuckets, h.CustomValues)
		}
	}
	check(it.Err())
}
