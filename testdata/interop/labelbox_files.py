"""Labelbox's own Python SDK takes the files that winnow wrote for Labelbox.

usage: labelbox_files.py WORKSPACE

Needs the package labelbox; nothing is sent: the SDK's client is replaced by one that keeps what it is
given. For every batch with a labelbox folder, data_rows.json goes through Dataset.create_data_rows and
batch.json through Project.create_batch up to the point where they would reach the network. The
metadata fields that the SDK looks up are those of metadata_schema.json.
"""

import glob
import json
import logging
import os
import re
from unittest import mock

from workspace import Workspace, arguments, run

MAX_ROWS, MAX_BATCH, MAX_KEY, MAX_TEXT = 150_000, 100_000, 200, 64 * 1024
RESERVED = [("tag", "CustomMetadataString"), ("captureDateTime", "CustomMetadataDateTime"), ("split", "CustomMetadataEnum")]


def main(report):
    args = arguments(__doc__).parse_args()
    try:
        import labelbox  # noqa: F401
    except ImportError:
        raise SystemExit("FAIL the package labelbox is missing: pip install labelbox") from None
    logging.disable(logging.WARNING)
    folders = sorted(glob.glob(os.path.join(Workspace(args.workspace).path("batches"), "*", "*", "labelbox")))
    for folder in folders:
        check_folder(report, folder, os.path.relpath(folder, args.workspace))


class Client:
    """Stands in for the network: metadata schemas come from a file, uploads are kept."""

    def __init__(self, schema):
        self.ontology = [{"id": f"schema{i:019d}", "name": n, "kind": k, "reserved": r, "options": options(i) if k.endswith("Enum") else None}
                         for i, (n, k, r) in enumerate([(f["name"], f["kind"], False) for f in schema] + [(n, k, True) for n, k in RESERVED])]
        self.uploads = []

    def get_data_row_metadata_ontology(self):
        from labelbox.schema.data_row_metadata import DataRowMetadataOntology
        return DataRowMetadataOntology(self)

    def execute(self, query, *args, **kwargs):
        if "customMetadataOntology" in query:
            return {"customMetadataOntology": self.ontology}
        raise AssertionError("the SDK asks the network: " + query[:80])

    def upload_data(self, content, *args, **kwargs):
        self.uploads.append(json.loads(content))
        return f"upload{len(self.uploads)}"

    def upload_file(self, path):
        return "https://uploads.invalid/" + os.path.basename(path)


def options(i):
    return [{"id": f"option{i:015d}{j:04d}", "name": n, "kind": "CustomMetadataEnumOption", "reserved": True} for j, n in enumerate(("train", "valid", "test"))]


def numbered(folder, name):
    """NAME.json, or NAME0000.json and so on."""
    found = [f for f in sorted(os.listdir(folder)) if re.fullmatch(name + r"(\d{4})?\.json", f)]
    return [(f, json.load(open(os.path.join(folder, f), encoding="utf8"))) for f in found]


def check_folder(report, folder, name):
    with open(os.path.join(folder, "metadata_schema.json"), encoding="utf8") as f:
        client = Client(json.load(f))
    left = os.path.join(folder, "left_out.jsonl")
    left = sum(1 for _ in open(left, encoding="utf8")) if os.path.exists(left) else 0
    keys, uploaded = [], []
    for file, rows in numbered(folder, "data_rows"):
        what, why = f"{name}/{file}: {len(rows)} data rows pass the SDK", ""
        try:
            through_sdk(client, rows)
            limits(rows)
        except Exception as e:  # whatever the SDK raises is the finding
            why = f"{type(e).__name__}: {e}"
        report.check(not why, what, why)
        uploaded += [r["global_key"] for r in rows]
    for file, batch in numbered(folder, "batch"):
        why = ""
        try:
            create_batch(client, batch)
        except Exception as e:
            why = f"{type(e).__name__}: {e}"
        report.check(not why, f"{name}/{file}: batch {batch['name']} of {len(batch['global_keys'])} rows passes the SDK", why)
        keys += batch["global_keys"]
    with open(os.path.join(folder, "..", "lineage.json"), encoding="utf8") as f:
        total = json.load(f)["rows"]
    ok = len(set(keys)) == len(keys) == total - left and set(uploaded) <= set(keys) and len(set(uploaded)) == len(uploaded)
    report.check(ok, f"{name}: {total} rows = {len(uploaded)} new + {len(keys) - len(uploaded)} known + {left} left out, each once")


def through_sdk(client, rows):
    from labelbox.schema.internal.data_row_upsert_item import DataRowCreateItem
    from labelbox.schema.internal.descriptor_file_creator import DescriptorFileCreator
    specs = DataRowCreateItem.build("dataset", [dict(r) for r in rows])
    empty = [s for s in specs if s.is_empty()]
    if empty:
        raise ValueError(f"{len(empty)} rows are empty for the SDK")
    client.uploads = []
    if specs:
        DescriptorFileCreator(client).create(specs, max_chunk_size_bytes=10_000_000)
    sent = sum(len(u) for u in client.uploads)
    if sent != len(rows):
        raise ValueError(f"the SDK would send {sent} of {len(rows)} rows")


def limits(rows):
    """What the documentation limits and the SDK leaves to the server."""
    from labelbox.schema.media_type import MediaType
    if len(rows) > MAX_ROWS:
        raise ValueError(f"{len(rows)} rows, at most {MAX_ROWS} in one upload")
    for r in rows:
        if not r["global_key"] or len(r["global_key"]) > MAX_KEY:
            raise ValueError(f"global_key {r['global_key']!r} has {len(r['global_key'])} characters")
        if r.get("media_type") == "TEXT" and len(r["row_data"]) > MAX_TEXT:
            raise ValueError(f"{r['global_key']}: text of {len(r['row_data'])} characters")
        if "media_type" in r and not MediaType.is_supported(MediaType(r["media_type"])):
            raise ValueError(f"{r['global_key']}: media_type {r['media_type']}")


def create_batch(client, batch):
    from labelbox.schema.project import Project
    project = mock.MagicMock(spec=Project)
    project.is_auto_data_generation.return_value = False
    project._wait_processing_max_seconds = 1
    known = {"name", "global_keys", "priority", "consensus_settings"}
    if set(batch) - known:
        raise ValueError(f"create_batch has no argument {set(batch) - known}")
    Project.create_batch(project, **batch)
    calls = project._create_batch_sync.call_args_list + project._create_batch_async.call_args_list
    if len(calls) != 1 or calls[0].args[0] != batch["name"] or calls[0].args[2] != batch["global_keys"]:
        raise ValueError("the SDK would not send the batch as it is")
    if batch["priority"] not in range(1, 6) or len(set(batch["global_keys"])) != len(batch["global_keys"]) > 0:
        raise ValueError(f"priority {batch['priority']}, {len(batch['global_keys'])} keys")


if __name__ == "__main__":
    run(main)
