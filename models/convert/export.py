"""Export models from their original libraries to the ONNX files that models/specs expect.

    export.py NAME --weights FOLDER [--out .deps/models]

writes OUT/NAME/model.onnx, and for texts the tokenizer's file beside it. FOLDER is
a copy of the model's repository on the Hugging Face Hub (its config.json, weights
and tokenizer); nothing is fetched. NAME is one of

    clip-vit-b32, clip-vit-b32-text                        openai/clip-vit-base-patch32
    siglip-base-patch16-224, siglip-base-patch16-224-text  google/siglip-base-patch16-224
    dinov2-small, dinov2-base                              facebook/dinov2-small, -base
    efficientnet-b2                                        timm/efficientnet_b2.ra_in1k
    resnet50                                               timm/resnet50.tv_in1k
    multilingual-e5-small                                  intfloat/multilingual-e5-small

A folder with other weights of the same architecture and size works too. The written
file is run on other inputs and other batch sizes than it was traced with, and must
give what the original gives. Needs torch, onnx and onnxruntime, and transformers or
timm; tried with torch 1.13.1, transformers 4.41.2, timm 1.0.9
and with torch 2.15.0, transformers 5.24.0, timm 1.0.31.
"""

import argparse
import inspect
import json
import os
import shutil
import sys

import numpy as np

OPSET = 14


class Refused(Exception):
    """The weights are not what the spec describes, or the export computes something else."""


# ---- the models: each returns (module, example inputs, names of inputs, output, axes that vary)


def wrap(model, forward):
    """A module that has the model's weights, and whose forward is the function."""
    import torch

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *args):
            return forward(*args)

    return Tower()


def vector(x):
    """transformers 5 wraps what 4 gives as it is."""
    return x if hasattr(x, "shape") else x.pooler_output


def pixels(size, batch=2):
    import torch

    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(batch)) * 2 - 1


def ids(vocabulary, length, batch=2, last=None):
    """Token ids; the largest id stands last, as CLIP's end of text does."""
    import torch

    x = torch.randint(3, vocabulary - 2, (batch, length), generator=torch.Generator().manual_seed(length))
    if last is not None:
        x[:, -1] = last
    return x


def clip_image(model):
    size = model.config.vision_config.image_size
    return Export(wrap(model, lambda x: vector(model.get_image_features(pixel_values=x))), lambda n: (pixels(size, n),), ["pixels"])


def clip_text(model):
    """Attention is causal and the vector is taken at the end of the text, so what
    follows that does not matter: no mask is needed, and any length will do."""
    vocabulary = model.config.text_config.vocab_size

    def example(n):
        return (ids(vocabulary, 5 + 3 * n, n, vocabulary - 1),)

    return Export(wrap(model, lambda x: vector(model.get_text_features(input_ids=x))), example, ["ids"], {"ids": {1: "tokens"}})


def siglip_image(model):
    # "valid" is no padding; older exporters know only the number.
    model.vision_model.embeddings.patch_embedding.padding = (0, 0)
    size = model.config.vision_config.image_size
    return Export(wrap(model, lambda x: vector(model.get_image_features(pixel_values=x))), lambda n: (pixels(size, n),), ["pixels"])


def siglip_text(model):
    """Has no mask, sees the padding, and takes the vector at the last position: texts
    are always as long as in training."""
    c = model.config.text_config
    length = c.max_position_embeddings
    return Export(wrap(model, lambda x: vector(model.get_text_features(input_ids=x))), lambda n: (ids(c.vocab_size, length, n),), ["ids"])


def dinov2(model, size=224):
    """The table of positions is stretched from the training's size to the spec's once
    and for all, as DINOv2's own repository does it: by a factor a little too large
    (interpolate_offset 0.1). transformers did so up to 4.4x, and leaves it out since."""
    import torch

    e, side = model.embeddings, size // model.config.patch_size
    with torch.no_grad():
        first, grid = e.position_embeddings[:, :1], e.position_embeddings[:, 1:]
        old = round(grid.shape[1] ** 0.5)
        grid = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
        if old != side:
            factor = (side + 0.1) / old
            grid = torch.nn.functional.interpolate(grid, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
        need("the table of positions", tuple(grid.shape[2:]), (side, side))
        positions = torch.cat((first, grid.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)
    e.interpolate_pos_encoding = lambda *_: positions
    return Export(wrap(model, lambda x: model(pixel_values=x).pooler_output), lambda n: (pixels(size, n),), ["pixels"])


def classifier(model, size):
    """All of a timm classifier; the vector is what goes into its last layer, named
    avg_pool in the file."""
    return Export(model, lambda n: (pixels(size, n),), ["pixels"], output="logits", inner="avg_pool")


def bert(model):
    import torch

    def example(n):
        x = ids(model.config.vocab_size, 4 + 3 * n, n)
        mask = torch.ones_like(x)
        mask[0, 3:] = 0
        return x, mask

    axes = {k: {1: "tokens"} for k in ("input_ids", "attention_mask", "last_hidden_state")}
    return Export(
        wrap(model, lambda x, mask: model(input_ids=x, attention_mask=mask).last_hidden_state),
        example,
        ["input_ids", "attention_mask"],
        axes,
        "last_hidden_state",
    )


# ---- writing and checking


class Export:
    """What to trace, and how its file looks.

    example(n) gives inputs of batch n, of a length of their own where it may vary.
    inner renames the tensor that feeds the last layer; it is no output of the file.
    """

    def __init__(self, module, example, inputs, axes=None, output="embedding", inner=None):
        self.module, self.example, self.inputs, self.output, self.inner = module.eval(), example, inputs, output, inner
        self.axes = {k: {0: "batch", **(axes or {}).get(k, {})} for k in [*inputs, output]}

    def write(self, path):
        """Write the file; returns the largest difference to the original, relative to its largest number."""
        import onnx
        import torch

        options = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
        with torch.no_grad():
            torch.onnx.export(
                self.module,
                self.example(2),
                path,
                input_names=self.inputs,
                output_names=[self.output],
                dynamic_axes=self.axes,
                opset_version=OPSET,
                do_constant_folding=True,
                **options,
            )
        model = onnx.load(path)
        if self.inner:
            rename_inner(model.graph, self.output, self.inner)
        del model.graph.value_info[:]
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return self.compare(path)

    def compare(self, path):
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        worst = 0.0
        for n in (1, 3):
            example = self.example(n)
            with torch.no_grad():
                want = self.module(*example).numpy()
            (got,) = session.run([self.output], {k: v.numpy() for k, v in zip(self.inputs, example)})
            if got.shape != want.shape:
                raise Refused(f"the file gives {got.shape} for a batch of {n}, the original {want.shape}")
            worst = max(worst, float(np.abs(got - want).max() / np.abs(want).max()))
        if not worst <= 1e-4:
            raise Refused(f"the file's numbers differ by {worst:.1e} of the largest from the original's")
        return worst


def rename_inner(graph, output, name):
    """Give the input of the layer that makes the output a name that every exporter keeps."""
    (last,) = [n for n in graph.node if output in n.output]
    if last.op_type not in ("Gemm", "MatMul"):
        raise Refused(f"the last layer is a {last.op_type}, not a Gemm")
    old = last.input[0]
    for node in graph.node:
        node.input[:] = [name if x == old else x for x in node.input]
        node.output[:] = [name if x == old else x for x in node.output]


# ---- reading the weights


def transformers_model(cls, folder):
    import transformers

    # The plain attention is what every version computes alike, and traces.
    return getattr(transformers, cls).from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()


def timm_model(arch, folder):
    import timm

    for file in ("model.safetensors", "pytorch_model.bin"):
        path = os.path.join(folder, file)
        if os.path.isfile(path):
            return timm.create_model(arch, pretrained=False, checkpoint_path=path).eval()
    raise Refused(f"{folder} has neither model.safetensors nor pytorch_model.bin")


def need(what, got, want):
    if got != want:
        raise Refused(f"{what} is {got}; the spec is made for {want}")


def clip_checked(folder):
    m = transformers_model("CLIPModel", folder)
    need("projection_dim", m.config.projection_dim, 512)
    need("image_size", m.config.vision_config.image_size, 224)
    need("text length", m.config.text_config.max_position_embeddings, 77)
    return m


def siglip_checked(folder):
    m = transformers_model("SiglipModel", folder)
    need("hidden_size", m.config.vision_config.hidden_size, 768)
    need("image_size", m.config.vision_config.image_size, 224)
    need("text length", m.config.text_config.max_position_embeddings, 64)
    return m


def dinov2_checked(folder, dim):
    # It has no choice of attention in every version.
    import transformers

    m = transformers.Dinov2Model.from_pretrained(folder, local_files_only=True).eval()
    need("hidden_size", m.config.hidden_size, dim)
    return m


def bert_checked(folder, dim):
    m = transformers_model("BertModel", folder)
    need("hidden_size", m.config.hidden_size, dim)
    return m


def preprocessing(folder, **want):
    """Compare what the folder says of its pictures with what the spec does."""
    path = os.path.join(folder, "preprocessor_config.json")
    if not os.path.isfile(path):
        return
    with open(path, encoding="utf-8") as f:
        have = json.load(f)
    for key, value in want.items():
        if key in have and not np.allclose(have[key], value, atol=1e-6):
            raise Refused(f"{path}: {key} is {have[key]}, the spec does {value}; write a spec of your own")


CLIP_PIXELS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}

# name: (how to read and build, what the pictures must be like, the tokenizer's file)
MODELS = {
    "clip-vit-b32": (lambda d: clip_image(clip_checked(d)), CLIP_PIXELS, None),
    "clip-vit-b32-text": (lambda d: clip_text(clip_checked(d)), {}, "tokenizer.json"),
    "siglip-base-patch16-224": (lambda d: siglip_image(siglip_checked(d)), HALF, None),
    "siglip-base-patch16-224-text": (lambda d: siglip_text(siglip_checked(d)), {}, "spiece.model"),
    "dinov2-small": (lambda d: dinov2(dinov2_checked(d, 384)), IMAGENET, None),
    "dinov2-base": (lambda d: dinov2(dinov2_checked(d, 768)), IMAGENET, None),
    "efficientnet-b2": (lambda d: classifier(timm_model("efficientnet_b2", d), 288), {}, None),
    "resnet50": (lambda d: classifier(timm_model("resnet50", d), 224), {}, None),
    "multilingual-e5-small": (lambda d: bert(bert_checked(d, 384)), {}, "tokenizer.json"),
}


def tokenizer_file(folder, name, to):
    """Copy the tokenizer; make tokenizer.json where an old folder has only its parts."""
    source = os.path.join(folder, name)
    if os.path.isfile(source):
        shutil.copyfile(source, os.path.join(to, name))
    elif name == "tokenizer.json":
        import transformers

        fast = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
        fast.backend_tokenizer.save(os.path.join(to, name))
    else:
        raise Refused(f"{folder} has no {name}")


def export(name, folder, out):
    """Write OUT/NAME in one rename."""
    build, pictures, tokenizer = MODELS[name]
    preprocessing(folder, **pictures)
    new, final = os.path.join(out, f".{name}.new"), os.path.join(out, name)
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    worst = build(folder).write(os.path.join(new, "model.onnx"))
    if tokenizer:
        tokenizer_file(folder, tokenizer, new)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(new, final)
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=MODELS, metavar="NAME")
    p.add_argument("--weights", required=True, metavar="FOLDER")
    p.add_argument("--out", default=os.path.join(".deps", "models"), metavar="FOLDER")
    a = p.parse_args()
    try:
        worst = export(a.name, a.weights, a.out)
    except Refused as e:
        sys.exit(f"export.py: {a.name}: {e}")
    print(f"{os.path.join(a.out, a.name)}: as the original, largest difference {worst:.1e} of the largest number")


if __name__ == "__main__":
    main()
