// Expositions prints what Prometheus' own parsers make of a body on standard input, so that what
// Vedette makes of it can be held against that.
//
//	expositions read CONTENT-TYPE [starts]  prints it; with `starts` the times at which counting began, too
//	expositions protobuf                    turns text into messages of Protocol Buffers
//
// Each sample is a line: labels, the bits of the value, the time or -, the start, and the exemplars.
// Texts and bits are hexadecimal. Families are lines that begin with #. Where a scrape would fail the
// output ends with a line that begins with !.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"sort"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	check(err)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "protobuf":
		toProtobuf(body)
	case len(os.Args) > 2 && os.Args[1] == "read":
		read(body, os.Args[2], len(os.Args) > 3 && os.Args[3] == "starts")
	default:
		log.Fatal("usage: expositions read CONTENT-TYPE [starts] | protobuf")
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func toProtobuf(body []byte) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	check(err)
	encoder := expfmt.NewEncoder(os.Stdout, expfmt.NewFormat(expfmt.TypeProtoDelim))
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		check(encoder.Encode(families[name]))
	}
}

func read(body []byte, contentType string, starts bool) {
	options := textparse.ParserOptions{OpenMetricsSkipSTSeries: starts, KeepClassicOnClassicAndNativeHistograms: true}
	parser, err := textparse.New(body, contentType, labels.NewSymbolTable(), options)
	check(err)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Fprintln(out, "!", err)
			return
		}
		switch entry {
		case textparse.EntryType:
			name, kind := parser.Type()
			fmt.Fprintf(out, "# type %x %s\n", name, kind)
		case textparse.EntryHelp:
			name, help := parser.Help()
			fmt.Fprintf(out, "# help %x %x\n", name, help)
		case textparse.EntryUnit:
			name, unit := parser.Unit()
			fmt.Fprintf(out, "# unit %x %x\n", name, unit)
		case textparse.EntrySeries:
			_, time, value := parser.Series()
			if !line(out, parser, starts, time, fmt.Sprintf("%016x", math.Float64bits(value))) {
				return
			}
		case textparse.EntryHistogram:
			_, time, whole, float := parser.Histogram()
			if whole != nil {
				float = whole.ToFloat(nil)
			}
			value := fmt.Sprintf("histogram(%d %016x %016x)", float.Schema, math.Float64bits(float.Count), math.Float64bits(float.Sum))
			if !line(out, parser, starts, time, value) {
				return
			}
		}
	}
}

func line(out io.Writer, parser textparse.Parser, starts bool, time *int64, value string) bool {
	var set labels.Labels
	parser.Labels(&set)
	set = labels.NewBuilder(set).Labels()
	if name, twice := set.HasDuplicateLabelNames(); twice {
		fmt.Fprintln(out, "! label twice:", name)
		return false
	}
	if !set.Has(model.MetricNameLabel) || !set.IsValid(model.UTF8Validation) {
		fmt.Fprintln(out, "! invalid names:", set)
		return false
	}
	fmt.Fprint(out, inHex(set), " ", value, " ")
	if time == nil {
		fmt.Fprint(out, "-")
	} else {
		fmt.Fprint(out, *time)
	}
	if starts {
		fmt.Fprint(out, " since ", parser.StartTimestamp())
	}
	var e exemplar.Exemplar
	for parser.Exemplar(&e) {
		fmt.Fprintf(out, " exemplar %s %016x %v %d", inHex(e.Labels), math.Float64bits(e.Value), e.HasTs, e.Ts)
		e = exemplar.Exemplar{}
	}
	fmt.Fprintln(out)
	return true
}

func inHex(set labels.Labels) string {
	text := "{"
	set.Range(func(l labels.Label) {
		if l.Value != "" {
			text += fmt.Sprintf("%x=%x,", l.Name, l.Value)
		}
	})
	return text + "}"
}
