package configs

import (
	"reflect"

	"winnow/pipeline/function"
)

// Config is a config file, checked, with its defaults filled in. Local paths in
// it are absolute; addresses of buckets stand as written. It survives a trip
// through JSON.
type Config struct {
	Workspace   string        `json:"workspace" jsonschema:"required,minLength=1,example=file://./workspace,example=s3://bucket/prefix?region=eu-west-1" jsonschema_description:"Where all that winnow makes is kept: a folder, or a bucket and prefix (file://, s3://, gs://, azblob://)."`
	Sources     []Source      `json:"sources" jsonschema:"required,minItems=1" jsonschema_description:"The manifests that list the assets."`
	Labels      []Labels      `json:"labels,omitempty" jsonschema_description:"Known labels: what is labeled is left out of batches, and where: sees it as labeled and label."`
	Predictions []Predictions `json:"predictions,omitempty" jsonschema_description:"What models said of the assets: where: sees it as prediction and confidence."`
	Embeddings  []Embedding   `json:"embeddings" jsonschema:"required,minItems=1" jsonschema_description:"The vector spaces to search in."`
	Functions   Globs         `json:"functions,omitempty" jsonschema_description:"The function files: a path or glob, or a list of them, relative to this file."`
	Batches     []Batch       `json:"batches,omitempty" jsonschema_description:"What to choose for labeling."`
	MaxRejects  *Percent      `json:"max_rejects,omitempty" jsonschema_description:"The run fails (exit 1) when more of the new rows than this are rejected. Off without it."`
	Device      string        `json:"device,omitempty" jsonschema:"pattern=^(auto|cpu|(cuda|tensorrt)(:[0-9]+)?)$,default=auto,example=cpu,example=cuda:0" jsonschema_description:"Where models run. auto is every NVIDIA GPU that works, else the processor; cuda and tensorrt are all GPUs, cuda:1 is one. A GPU that is asked for and does not work is an error."`
	Limits      Limits        `json:"limits,omitzero" jsonschema_description:"Bounds for a single asset and for winnow itself."`
	Seed        uint64        `json:"seed,omitempty" jsonschema:"default=1,minimum=0,maximum=9007199254740991" jsonschema_description:"Seed of every random choice that names none of its own."`
	Tasks       Tasks         `json:"tasks,omitzero" jsonschema_description:"How work is cut into tasks."`

	// Definitions are the functions of all function files, sorted by file.
	Definitions []*Function `json:"definitions,omitempty" jsonschema:"-"`
	// File is the config file as the user named it.
	File string `json:"file,omitempty" jsonschema:"-"`
	// Env are the environment variables that the config and its functions refer to.
	Env map[string]string `json:"-" jsonschema:"-"`

	marks marks
}

// Source is one manifest of assets.
type Source struct {
	Name     string   `json:"name,omitempty" jsonschema:"minLength=1,maxLength=200" jsonschema_description:"What the source is called in the assets table. Default: the manifest as written."`
	Manifest string   `json:"manifest" jsonschema:"required,minLength=1,example=file://./data/manifest.jsonl,example=s3://bucket/photos/**/*.jpg" jsonschema_description:"JSON Lines, CSV or Parquet files, or a glob of them; or a glob of pictures or texts, whose paths become asset ids."`
	Mode     string   `json:"mode,omitempty" jsonschema:"enum=append,enum=snapshot,default=append" jsonschema_description:"append: the manifest adds and changes assets. snapshot: it is the whole truth, and what it lacks is removed."`
	Fields   Fields   `json:"fields,omitzero" jsonschema_description:"Columns of the manifest, where their names differ from winnow's."`
	Allow    []string `json:"allow,omitempty" jsonschema:"minItems=1,uniqueItems=true,minLength=1" jsonschema_description:"The places that assets may be read from. Default: the manifest's own folder or bucket. http(s):// places must be named here."`
}

// Fields names columns of a manifest, where they differ from winnow's.
type Fields struct {
	AssetID string `json:"asset_id,omitempty" jsonschema:"minLength=1" jsonschema_description:"The asset's unique key."`
	URI     string `json:"uri,omitempty" jsonschema:"minLength=1" jsonschema_description:"Where the content is, absolute or relative to the manifest."`
	Text    string `json:"text,omitempty" jsonschema:"minLength=1" jsonschema_description:"Content that stands in the manifest itself."`
	Caption string `json:"caption,omitempty" jsonschema:"minLength=1" jsonschema_description:"A text about the asset."`
	Version string `json:"version,omitempty" jsonschema:"minLength=1" jsonschema_description:"Changes when the content changes: an etag, md5 or time of change."`

	MediaType string `json:"media_type,omitempty" jsonschema:"minLength=1" jsonschema_description:"What the content is, such as image/jpeg or TEXT."`
}

// Map gives the columns by winnow's words; words without a column are left out.
func (f Fields) Map() map[string]string { return columns(f) }

// Labels is one manifest of labels: rows of asset_id and label.
type Labels struct {
	Manifest string      `json:"manifest" jsonschema:"required,minLength=1,example=file://./labels/*.jsonl" jsonschema_description:"JSON Lines, CSV or Parquet files, or a glob of them."`
	Fields   LabelFields `json:"fields,omitzero" jsonschema_description:"Columns of the manifest, where their names differ from winnow's."`
}

// LabelFields names columns of a labels manifest.
type LabelFields struct {
	AssetID string `json:"asset_id,omitempty" jsonschema:"minLength=1" jsonschema_description:"The labeled asset."`
	Label   string `json:"label,omitempty" jsonschema:"minLength=1" jsonschema_description:"Its label."`
	Object  string `json:"object,omitempty" jsonschema:"minLength=1" jsonschema_description:"What tells the objects of an asset apart."`
	BBox    string `json:"bbox,omitempty" jsonschema:"minLength=1" jsonschema_description:"The object's box in pixels: [x, y, width, height]."`
}

// Map gives the columns by winnow's words.
func (f LabelFields) Map() map[string]string { return columns(f) }

// Predictions is one manifest of what a model said.
type Predictions struct {
	Model    string           `json:"model" jsonschema:"required,minLength=1,example=fruit-v7" jsonschema_description:"Name and version of the model."`
	Manifest string           `json:"manifest" jsonschema:"required,minLength=1,example=file://./predictions.parquet" jsonschema_description:"JSON Lines, CSV or Parquet files, or a glob of them."`
	Fields   PredictionFields `json:"fields,omitzero" jsonschema_description:"Columns of the manifest, where their names differ from winnow's."`
	Coco     string           `json:"coco,omitempty" jsonschema:"minLength=1,example=file://./instances.json" jsonschema_description:"Of COCO results: the ground truth whose images and categories they mean. Default: the COCO files among the labels."`
}

// PredictionFields names columns of a predictions manifest.
type PredictionFields struct {
	AssetID    string `json:"asset_id,omitempty" jsonschema:"minLength=1" jsonschema_description:"The asset."`
	Prediction string `json:"prediction,omitempty" jsonschema:"minLength=1" jsonschema_description:"The predicted class."`
	Confidence string `json:"confidence,omitempty" jsonschema:"minLength=1" jsonschema_description:"How sure the model is, from 0 to 1."`
	Object     string `json:"object,omitempty" jsonschema:"minLength=1" jsonschema_description:"What tells the objects of an asset apart."`
	BBox       string `json:"bbox,omitempty" jsonschema:"minLength=1" jsonschema_description:"The object's box in pixels: [x, y, width, height]."`

	Probabilities string `json:"probabilities,omitempty" jsonschema:"minLength=1" jsonschema_description:"The probability of every class: a map such as {cat: 0.9, dog: 0.1}."`
}

// Map gives the columns by winnow's words.
func (f PredictionFields) Map() map[string]string { return columns(f) }

// Embedding is a vector space: one model applied to one field of the assets, or
// vectors that another program made. Either Model or Vectors is set.
type Embedding struct {
	Name  string `json:"name" jsonschema:"required,pattern=^[a-z][a-z0-9_-]{0\\,63}$" jsonschema_description:"The name that functions and batches use."`
	Model string `json:"model,omitempty" jsonschema:"minLength=1,example=efficientnet-lite0,example=use-multilingual-v3,example=./models/my-model.yaml" jsonschema_description:"A model that winnow ships, or the path of a model spec."`
	Of    string `json:"of" jsonschema:"required,pattern=^(image|text|caption|metadata[.].+)$,example=image,example=text,example=caption,example=metadata.title" jsonschema_description:"The field of the assets that the model sees."`
	// Vectors is nil where a model makes them.
	Vectors *Vectors `json:"vectors,omitempty" jsonschema_description:"Vectors that another program made, instead of a model."`
	// Decode is empty where the model's spec decides.
	Decode string `json:"decode,omitempty" jsonschema:"enum=exact,enum=fast" jsonschema_description:"How pictures are decoded: exact, or fast (large JPEGs shrink while they are decoded; vectors move a little, so it is another vector space). Default: what the model's spec says."`
	// Neighbors is nil where they are found only when a command needs them.
	Neighbors *Neighbors `json:"neighbors,omitempty" jsonschema_description:"The nearest rows of every row, found by each winnow run. Without it they are found when winnow duplicates or winnow neighbors need them."`
	Index     Index      `json:"index,omitzero" jsonschema_description:"How the vectors are indexed for search."`
}

// Neighbors says how many nearest rows of each row are kept.
type Neighbors struct {
	K int `json:"k,omitempty" jsonschema:"minimum=1,maximum=200,default=15" jsonschema_description:"How many nearest rows of each row are kept."`
}

// defaultK is what UMAP asks for.
const defaultK = 15

// K is how many nearest rows of each row are kept.
func (e Embedding) K() int {
	if e.Neighbors == nil || e.Neighbors.K == 0 {
		return defaultK
	}
	return e.Neighbors.K
}

// Index says how the vectors of an embedding are indexed.
type Index struct {
	Memory Bytes   `json:"memory,omitempty" jsonschema:"default=1GB" jsonschema_description:"Memory of a process that builds the index, and size of the finished index where the kind is auto: rows are kept as they are, at a byte a number, or product quantised, whichever of these comes first within it. At least 50MB."`
	Recall float64 `json:"recall,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1,default=0.95" jsonschema_description:"Share of the ten nearest rows that a search must find, measured while the index is built. A build that misses it fails."`
	Kind   string  `json:"kind,omitempty" jsonschema:"enum=auto,enum=flat,enum=ivf_flat,enum=ivf_sq8,enum=ivf_pq,default=auto" jsonschema_description:"flat compares with all rows; the others read lists of rows near the query: as they are, at a byte a number, or product quantised to 16 to 128 bytes a row. auto is flat below 10,000 rows."`
}

// MadeBy says what makes the vectors: a model, or what the user calls the space of
// vectors from files.
func (e Embedding) MadeBy() string {
	switch {
	case e.Vectors == nil:
		return e.Model
	case e.Vectors.Space != "":
		return e.Vectors.Space
	}
	return "vectors from files"
}

// Vectors are files of vectors that another program made.
type Vectors struct {
	Files     string       `json:"files" jsonschema:"required,minLength=1,example=s3://bucket/embeddings/*.parquet,example=file://./img_emb/*.npy" jsonschema_description:"Parquet, .npy or JSON Lines files, a glob of them, or a folder that clip-retrieval has written."`
	IDs       string       `json:"ids,omitempty" jsonschema:"minLength=1,example=file://./ids.txt" jsonschema_description:"Of .npy files: the files with the ids of their rows, as many and in the same order. Of Labelbox's NDJSON: an export that tells which asset a data row is."`
	Fields    VectorFields `json:"fields,omitzero" jsonschema_description:"Columns of the files, where their names differ from winnow's."`
	Dim       int          `json:"dim" jsonschema:"required,minimum=1,maximum=65536,example=512" jsonschema_description:"How many numbers a vector has."`
	Normalize string       `json:"normalize,omitempty" jsonschema:"enum=l2,enum=none,default=l2" jsonschema_description:"l2: vectors are scaled to length 1 when they are read."`
	// Space is part of the fingerprint.
	Space string `json:"space,omitempty" jsonschema:"minLength=1,maxLength=200,example=clip-vit-b32 laion2b" jsonschema_description:"What made the vectors. Change it when another model did: vectors of two models are never compared."`
}

// VectorFields names columns of files of vectors.
type VectorFields struct {
	AssetID string `json:"asset_id,omitempty" jsonschema:"minLength=1" jsonschema_description:"The asset's unique key."`
	Vector  string `json:"vector,omitempty" jsonschema:"minLength=1" jsonschema_description:"The list of numbers."`
}

// Map gives the columns by winnow's words.
func (f VectorFields) Map() map[string]string { return columns(f) }

// Batch says what to choose for labeling.
type Batch struct {
	Name     string      `json:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9_-]{0\\,63}$" jsonschema_description:"The batch's name; it is identified by name and slot."`
	Where    string      `json:"where,omitempty" jsonschema:"minLength=1,example=ripe_apples_match AND NOT labeled" jsonschema_description:"A SQL condition over the assets, metadata.*, label, labels, labeled, prediction, predictions, confidence, predicted, batches, batched, and three columns a function: f, f_match, f_pct. Without it every asset may be chosen."`
	Exclude  []Exclude   `json:"exclude,omitempty" jsonschema:"uniqueItems=true,default=batched,default=labeled" jsonschema_description:"What is left out beforehand: batched, labeled, {batch: NAME} or {ids: FILE}. Write [] to leave nothing out."`
	Dedupe   *Dedupe     `json:"dedupe,omitempty" jsonschema_description:"Keep one of each group of near-duplicates. Exact duplicates are dropped without it."`
	Select   []Objective `json:"select,omitempty" jsonschema:"minItems=1,example=[{top: ripe_apples}],example=[{diversity: {embedding: image}}]" jsonschema_description:"How to choose among what is left: one greedy pass over the product of all objectives, each to the power of its strength."`
	Size     int         `json:"size,omitempty" jsonschema:"minimum=1,maximum=10000000" jsonschema_description:"How many assets to choose at most."`
	Emit     []string    `json:"emit,omitempty" jsonschema:"enum=jsonl,enum=parquet,enum=arrow,enum=html,enum=labelbox,enum=label-studio,enum=cvat,enum=ground-truth,enum=coco,enum=fiftyone,enum=huggingface,minItems=1,uniqueItems=true,default=jsonl,default=parquet,default=html" jsonschema_description:"The files to write."`
	Seed     uint64      `json:"seed,omitempty" jsonschema:"minimum=0,maximum=9007199254740991" jsonschema_description:"Seed of this batch's random choices. Default: the config's seed."`
	Labelbox *Labelbox   `json:"labelbox,omitempty" jsonschema_description:"Options of the labelbox files."`

	URIRewrite []URIRule `json:"uri_rewrite,omitempty" jsonschema:"minItems=1" jsonschema_description:"Turn URIs that the labeling tools cannot read into ones that they can. The first rule that fits applies; labelbox's own go first. jsonl, parquet, arrow and html keep the assets' URIs."`

	Quotas          []Quota          `json:"quotas,omitempty" jsonschema:"minItems=1" jsonschema_description:"How many rows of one kind the batch may hold."`
	Proportion      float64          `json:"proportion,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1,example=0.01" jsonschema_description:"Instead of size: the share of the rows that where and exclude leave, rounded; one row at least."`
	StayAway        string           `json:"stay_away,omitempty" jsonschema:"enum=batched,enum=labeled,enum=none" jsonschema_description:"batched: new picks stay away from the rows of earlier batches, in the spaces of diversity. The default where there is a diversity; labeled: from labeled rows, too; none turns it off."`
	SelectionConfig *SelectionConfig `json:"selection_config,omitempty" jsonschema_description:"A selection_config of LightlyOne, as it is, instead of select and size."`
	// Conditions are the thresholds of SelectionConfig as SQL, beside Where.
	Conditions []string `json:"conditions,omitempty" jsonschema:"-"`
}

// Labelbox are the options of the labelbox files of a batch.
type Labelbox struct {
	URIRewrite []URIRule  `json:"uri_rewrite,omitempty" jsonschema:"minItems=1" jsonschema_description:"Rules for Labelbox alone, tried before the batch's."`
	Priority   int        `json:"priority,omitempty" jsonschema:"minimum=1,maximum=5,default=5" jsonschema_description:"Of the batch: 1 is the highest."`
	Consensus  *Consensus `json:"consensus,omitempty" jsonschema_description:"Ask for several labels of a share of the rows."`
	Metadata   []string   `json:"metadata,omitempty" jsonschema:"uniqueItems=true,minLength=1" jsonschema_description:"The metadata fields to send. Default: all."`
}

// URIRule replaces a prefix of a URI.
type URIRule struct {
	From string `json:"from" jsonschema:"required,minLength=1,example=s3://bucket/" jsonschema_description:"The beginning of the URI."`
	To   string `json:"to" jsonschema:"required,minLength=1,example=https://cdn.example.com/" jsonschema_description:"What to write instead."`
}

// Consensus asks for several labels of a share of the rows.
type Consensus struct {
	Labels   int     `json:"labels" jsonschema:"required,minimum=2,maximum=100" jsonschema_description:"Labels of one row."`
	Coverage float64 `json:"coverage" jsonschema:"required,exclusiveMinimum=0,maximum=1" jsonschema_description:"Share of the rows."`
}

// Limits bound what one asset, and winnow itself, may take.
type Limits struct {
	Bytes   Bytes    `json:"bytes,omitempty" jsonschema:"default=64MiB" jsonschema_description:"Size of an asset's file. Larger ones are rejected."`
	Pixels  int64    `json:"pixels,omitempty" jsonschema:"minimum=1,maximum=4000000000,default=100000000" jsonschema_description:"Width times height of a picture, checked before it is decoded."`
	Line    Bytes    `json:"line,omitempty" jsonschema:"default=8MiB" jsonschema_description:"Length of a manifest's line."`
	Timeout Duration `json:"timeout,omitempty" jsonschema:"default=60s" jsonschema_description:"Time to fetch one asset."`
	Memory  Bytes    `json:"memory,omitempty" jsonschema:"default=1GB" jsonschema_description:"Memory of the database that joins and filters; beyond it spills to disk."`
}

// Tasks says how work is cut.
type Tasks struct {
	Embed int64 `json:"embed,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"Rows of an embed task at most. Default: 4096 pictures or 16384 texts, less for small sets."`
	Score int64 `json:"score,omitempty" jsonschema:"minimum=1,maximum=100000000" jsonschema_description:"Rows of a score task at most. Default: chosen from the size of the embedding."`
}

// Function is a function with the file that it came from.
type Function struct {
	*function.Definition
	File string `json:"file"` // absolute path; relative anchors resolve against its folder

	marks     marks
	inherited map[string]origin // paths of anchors that `like:` brought
}

// columns gives the texts of a struct by their keys, without the empty ones.
func columns(fields any) map[string]string {
	v := reflect.ValueOf(fields)
	m := map[string]string{}
	for key, i := range fieldsOf(v.Type()) {
		if s := v.FieldByIndex(i).String(); s != "" {
			m[key] = s
		}
	}
	return m
}
