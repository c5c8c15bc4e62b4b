"""The tensors of our networks under the names that the authors' checkpoints have."""

import torch


def stages_of_five(key):
    """Names of a backbone's tensor in the released IRN: the five stages stand in modules of their own."""
    part, rest = key.split(".", 1)
    if part in ("conv1", "bn1"):
        stage, rest = 1, f"{'01'[part == 'bn1']}.{rest}"
    else:
        stage, rest = int(part[-1]) + 1, f"0.{rest}"
    return [f"resnet50.{key}", f"stage{stage}.{rest}", f"backbone.{stage - 1}.{rest}"]


def stages_of_four(key):
    """The same in the released classifier, whose first stage holds the stem and the first residual stage."""
    part, rest = key.split(".", 1)
    stage = max(1, int(part[-1])) if part.startswith("layer") else 1
    place = {"conv1": "0", "bn1": "1", "layer1": "4"}.get(part, "0")
    return [f"resnet50.{key}", f"stage{stage}.{place}.{rest}", f"backbone.{stage - 1}.{place}.{rest}"]


def published_classifier(model):
    state = {name: tensor for key, tensor in model.backbone.state_dict().items() for name in stages_of_four(key)}
    weight = model.classifier.weight.detach()
    return {**state, "classifier.weight": weight, "newly_added.0.weight": weight}


def published_reconstruction(model):
    blocks = {
        "main.0": model.head,
        "main.1.model.0.model.0": model.residual[0],
        "main.1.model.0.model.1": model.residual[1],
    }
    blocks |= {f"upsample_{n}.3": model.upsample[n - 1].conv for n in (1, 2, 3, 4)}
    blocks |= {"upsample_4.4": model.tail}
    state = {f"upsample_{n}.0.weight": model.upsample[n - 1].up.weight.detach() for n in (1, 2, 3, 4)}
    return state | {
        f"{place}.{key}": value for place, block in blocks.items() for key, value in block.state_dict().items()
    }


def published_irn(model):
    state = {name: tensor for key, tensor in model.backbone.state_dict().items() for name in stages_of_five(key)}
    for branch, layers, heads in (
        ("edge", "edge_layers", [*model.edge, model.edge_fuse]),
        ("dp", "dp_layers", [*model.displacement, model.displacement_deep]),
    ):
        for n, head in enumerate(heads):
            for key, value in head.state_dict().items():
                state |= {f"fc_{branch}{n + 1}.{key}": value, f"{layers}.{n}.{key}": value}
    for place in ("fc_dp7", "dp_layers.6"):
        norm = model.displacement_fuse[0][1]
        state |= {
            f"{place}.0.weight": model.displacement_fuse[0][0].weight.detach(),
            f"{place}.1.weight": norm.weight.detach(),
            f"{place}.1.bias": norm.bias.detach(),
            f"{place}.3.weight": model.displacement_fuse[2].weight.detach(),
            f"{place}.4.running_mean": model.displacement_mean,
        }
    state["mean_shift.running_mean"] = model.displacement_mean
    # Radius 10 on the map of a 512 px window, 128 x 128: pairs by the number of cells on their path.
    paths = [
        (2, 2),
        (2, 3),
        (4, 4),
        (2, 5),
        (6, 6),
        (4, 7),
        (10, 8),
        (2, 9),
        (12, 10),
        (4, 11),
        (12, 12),
        (2, 13),
        (8, 14),
    ]
    paths += [(8, 15), (22, 16), (16, 18), (6, 19), (20, 20), (4, 21), (6, 22)]
    for n, shape in enumerate(paths):
        state[f"path_indices{n}"] = torch.zeros(1, dtype=torch.int64).expand(*shape, 119 * 110)
    return {**state, "disp_target": torch.zeros(1, 2, 152, 1)}


def published_segmentation(model):
    state = {}
    for key, value in model.backbone.state_dict().items():
        state[f"backbone.{key}" if key.startswith("layer") else f"backbone.stem_layer.{key}"] = value
    for n, branch in enumerate(model.aspp):
        state |= {f"aspp.c{n}.{key}": value for key, value in branch.state_dict().items()}
    return state
