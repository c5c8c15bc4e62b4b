"""The command line `ssc`: subcommands, each a few lines around a function of the package."""

import argparse
import sys
from pathlib import Path

from ssc.runtime.errors import InputError, user_message


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status, 1 after bad input (2 of `verify` and `compare-stages`)."""
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

    weights = commands.add_parser("import-weights", help="turn a published checkpoint into a weight file of ssc")
    kinds = weights.add_subparsers(dest="kind", required=True)
    for kind, network in (("classifier", "ResNet-50"), ("irn", "ResNet-50"), ("segmentation", "DeepLabV2, ResNet-101")):
        checkpoint = kinds.add_parser(kind, help=network)
        checkpoint.add_argument("source", type=Path, help="checkpoint, .pth or .safetensors")
        checkpoint.add_argument("output", type=Path, help="safetensors file to write")
        if kind != "irn":
            checkpoint.add_argument("--classes", type=Path, help="class names, one per line (default: VOC's 20)")
        if kind == "classifier":
            checkpoint.add_argument("--reconstruction", type=Path, help="checkpoint of the reconstruction net")
        if kind == "segmentation":
            checkpoint.add_argument("--output-stride", type=int, choices=[8, 16], default=8, help="default: 8")

    backbone = kinds.add_parser("backbone", help="ImageNet weights of any network, where a run looks for them")
    backbone.add_argument("source", type=Path, help="checkpoint of torchvision or timm, .pth or .safetensors")
    backbone.add_argument("output", type=Path, nargs="?", help="default: resources/weights/<network>.safetensors")
    backbone.add_argument("--network", help="its name in the configuration (default: the file's, up to the first -)")

    cams = commands.add_parser("convert-cams", help="turn CAMs of the released code into files for ready.cams")
    cams.add_argument("folder", type=Path, help="folder of <id>.npy")
    cams.add_argument("output", type=Path, help="folder for <id>.npz")

    stages = commands.add_parser(
        "compare-stages",
        help="how far two runs, or a run and another code base's results, agree at each stage",
        description="CAMs, seeds, labels and predictions of the images that both have. Status 0: all agree; 1: a stage "
        "does not; 2: nothing can be compared.",
    )
    stages.add_argument("first", type=Path, help="folder of a run, results/<data set>/<experiment>")
    stages.add_argument(
        "second",
        type=Path,
        help="another, or a folder with some of cams (<id>.npz, or the release's <id>.npy), irn_labels, pseudo_labels, "
        "confidence, predictions/<split> (<id>.png); the release's cam, ir_label and sem_seg are known too",
    )
    stages.add_argument("--threshold", type=float, default=0.2, help="background threshold of the seeds (default: 0.2)")

    export = commands.add_parser("export", help="write a run's masks for other tools: docs/exporting.md")
    export.add_argument("run", type=Path, help="folder of a run, results/<data set>/<experiment>")
    export.add_argument(
        "--what",
        required=True,
        choices=["pseudo-labels", "predictions", *(f"predictions/{split}" for split in ("train", "val", "test"))],
        help="with the split where the run has predictions of several",
    )
    export.add_argument("--to", required=True, choices=["voc", "coco", "yolo", "label-studio", "cvat"])
    export.add_argument("--out", required=True, type=Path, help="folder to make; the photos are copied into it")
    export.add_argument("--segmentation", choices=["rle", "polygons"], help="for coco (default: rle)")

    verify = commands.add_parser(
        "verify",
        help="compare a run's files with its manifest, or two runs with each other",
        description="Status 0: all is the same; 1: something differs; 2: a run cannot be read.",
    )
    verify.add_argument("run", type=Path, help="folder of a run, or its manifest.json")
    verify.add_argument("other", nargs="?", type=Path, help="another run to compare it with")

    options = parser.parse_args(arguments)
    run = {
        "predict": _predict,
        "evaluate": _evaluate,
        "import-weights": _import_weights,
        "convert-cams": _convert_cams,
        "compare-stages": _compare_stages,
        "export": _export,
        "verify": _verify,
    }
    try:
        return run[options.command](options) or 0
    except (InputError, OSError) as error:
        if (told := user_message(error)) is None:
            raise
        print(f"Error: {told}", file=sys.stderr)
        return 2 if options.command in ("verify", "compare-stages") else 1


def _predict(options: argparse.Namespace) -> None:
    from PIL import Image

    from ssc.archive import encode_labels
    from ssc.data.photos import read_image
    from ssc.models.deeplab import load_networks
    from ssc.models.weights import read_header
    from ssc.prediction import TEST_CRF, predict_steps
    from ssc.report.pictures import overlay
    from ssc.runtime.device import select_device
    from ssc.runtime.files import atomic
    from ssc.runtime.progress import track

    names = [photo.stem for photo in options.photos]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"Two photos are called {repeated!r}; their results would overwrite each other.")
    missing = next((photo for photo in options.photos if not photo.is_file()), None)
    if missing:
        raise InputError(f"The photo {missing} does not exist.")
    networks = load_networks(options.weights, device=select_device(options.device))
    classes = ["background", *read_header(options.weights)["facts"]["classes"]]
    crf = TEST_CRF if options.crf else None
    found = {}
    for photo in track(options.photos, "photos"):
        image = read_image(photo)
        labels = predict_steps(networks, image, scales=options.scales, crf=crf)[-1]
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
    from ssc.stages.evaluate import evaluate_folders

    figures = evaluate_folders(options.predictions, options.masks, num_classes=options.num_classes)
    if figures["miou"] is None:
        raise InputError(f"{options.masks}: every pixel is 255 (ignored); there is nothing to measure on.")
    print(f"mIoU {100 * figures['miou']:.2f} % over {figures['images']} images")
    for name, iou in figures["iou"].items():
        print(f"  {name:>12}  {'absent' if iou is None else f'{100 * iou:6.2f}'}")


def _import_weights(options: argparse.Namespace) -> None:
    from ssc.interop.backbone_weights import import_backbone
    from ssc.interop.released_weights import import_classifier, import_irn, import_segmentation
    from ssc.stages.download_weights import IMAGENET_FILES

    source, output = options.source, options.output
    match options.kind:
        case "backbone":
            known = {file: name for name, file in IMAGENET_FILES.items()}
            name = options.network or known.get(source.name) or source.stem.split("-")[0]
            output = output or Path(f"resources/weights/{name}.safetensors")
            import_backbone(source, output, name.removesuffix("_v2"))
        case "classifier":
            import_classifier(source, output, reconstruction=options.reconstruction, classes=options.classes)
        case "irn":
            import_irn(source, output)
        case "segmentation":
            import_segmentation(source, output, classes=options.classes, output_stride=options.output_stride)
    print(f"Wrote {output}.")


def _convert_cams(options: argparse.Namespace) -> None:
    from ssc.interop.released_cams import convert_cams

    print(f"Wrote {convert_cams(options.folder, options.output)} files to {options.output}.")


def _compare_stages(options: argparse.Namespace) -> int:
    from ssc.workflow.compare import compare_stages

    found = compare_stages(options.first, options.second, threshold=options.threshold)
    width = max(len(row.stage) for row in found)
    for row in found:
        alone = f"; {row.alone} are in one of them only" if row.images and row.alone else ""
        print(f"{row.stage:<{width}}  {row.images} images: {row.told()}{alone}")
    parting = next((row.stage for row in found if row.parts), None)
    print(f"They part at {parting}." if parting else "They agree.")
    return int(bool(parting))


def _export(options: argparse.Namespace) -> None:
    from ssc.interop.exports.run import export_run

    done = export_run(options.run, what=options.what, to=options.to, out=options.out, segmentation=options.segmentation)
    print(f"Wrote {done.images} masks to {options.out}.")
    if done.ignored and options.to != "voc":
        print(f"{100 * done.ignored:.2f} % of their pixels are ignored (255), which {options.to} has as background.")


def _verify(options: argparse.Namespace) -> int:
    from ssc.workflow.verify import check_run, compare_runs

    if not options.other:
        states = check_run(options.run)
        wrong = {path: state for path, state in states.items() if state != "same"}
        for path, state in wrong.items():
            print(f"{path}: {state}")
        print(f"{len(states) - len(wrong)} of {len(states)} files are as the manifest of {options.run} says.")
        return int(bool(wrong))
    config, versions, stages = compare_runs(options.run, options.other)
    for title, differences in (("Configuration", config), ("Versions and machine", versions)):
        print(f"{title}:{'' if differences else ' the same'}")
        for key, (ours, theirs) in differences.items():
            print(f"  {key}: {ours} | {theirs}")
    print("Results:")
    for stage, phrases in stages.items():
        print(f"  {stage}: {phrases[0] if phrases else 'the same'}")
        if phrases[1:]:
            print(f"    and {len(phrases) - 1} more that follow")
    differing = [stage for stage, phrases in stages.items() if phrases]
    print(f"The results differ, from {differing[0]} on." if differing else "The results are the same.")
    return int(bool(differing))
