"""The command line: `ssc predict` and `ssc evaluate`."""

import argparse
import sys
from pathlib import Path

from ssc.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status, 1 after an error told in one sentence."""
    parser = argparse.ArgumentParser(prog="ssc", description="Weakly supervised semantic segmentation with SSC.")
    commands = parser.add_subparsers(dest="command", required=True)

    predict = commands.add_parser("predict", help="segment photos with a trained network")
    predict.add_argument("photos", nargs="+", type=Path, help="image files")
    predict.add_argument("--weights", required=True, type=Path, help="segmentation.safetensors of a run")
    predict.add_argument("--out", required=True, type=Path, help="folder for <name>.png and <name>_overlay.png")
    predict.add_argument("--scales", nargs="+", type=float, default=[1.0], help="test scales (default: 1)")
    predict.add_argument("--crf", action="store_true", help="refine the result with a dense CRF")
    predict.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")

    evaluate = commands.add_parser("evaluate", help="mIoU of two folders or archives of label PNGs")
    evaluate.add_argument("predictions", type=Path, help="folder of <id>.png, or a shard archive")
    evaluate.add_argument("masks", type=Path, help="ground truth likewise; 255 is ignored")
    evaluate.add_argument("--num-classes", type=int, help="classes with background (default: largest id + 1)")

    options = parser.parse_args(arguments)
    try:
        (_predict if options.command == "predict" else _evaluate)(options)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _predict(options: argparse.Namespace) -> None:
    from PIL import Image

    from ssc.archive import encode_labels
    from ssc.data.transforms import read_image
    from ssc.device import select_device
    from ssc.files import atomic
    from ssc.models.deeplab import DeepLabV2
    from ssc.panels import overlay
    from ssc.prediction import CRF_DEFAULTS, predict_labels
    from ssc.progress import track
    from ssc.weights import load_part, read_header

    names = [photo.stem for photo in options.photos]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"Two photos are called {repeated!r}; their results would overwrite each other.")
    missing = next((photo for photo in options.photos if not photo.is_file()), None)
    if missing:
        raise InputError(f"The photo {missing} does not exist.")
    model = load_part(options.weights, "segmentation", DeepLabV2, device=select_device(options.device))
    classes = ["background", *read_header(options.weights)["facts"]["classes"]]
    settings = {"scales": options.scales, "flip": True, "crf": {**CRF_DEFAULTS, "enabled": options.crf}}
    found = {}
    for photo in track(options.photos, "photos"):
        image = read_image(photo)
        labels = predict_labels(model, image, settings)
        with atomic(options.out / f"{photo.stem}.png") as temporary:
            temporary.write_bytes(encode_labels(labels))
        with atomic(options.out / f"{photo.stem}_overlay.png") as temporary:
            Image.fromarray(overlay(image, labels)).save(temporary, "png")
        found[photo.name] = (
            ", ".join(classes[k] for k in sorted(set(labels.ravel().tolist())) if k) or "background only"
        )
    for name, labels in found.items():
        print(f"{name}: {labels}")


def _evaluate(options: argparse.Namespace) -> None:
    from ssc.evaluation import evaluate_folders

    figures = evaluate_folders(options.predictions, options.masks, num_classes=options.num_classes)
    if figures["miou"] is None:
        raise InputError(f"{options.masks}: every pixel is 255 (ignored); there is nothing to measure on.")
    print(f"mIoU {100 * figures['miou']:.2f} % over {figures['images']} images")
    for name, iou in figures["iou"].items():
        print(f"  {name:>12}  {'absent' if iou is None else f'{100 * iou:6.2f}'}")
