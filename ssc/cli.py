"""The command line `ssc`: subcommands, each a few lines around a function of the package."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from ssc.runtime.errors import Parser, user_message

_TOLD = 20  # photos whose classes are printed
_FORCE = "replace files that this command has not written"


def _number(low: float, high: float, kind: type = float) -> Callable[[str], float]:
    """Reads a number of low < x <= high."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low < value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number above {low:g} and up to {high:g}")
        return value

    return read


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status, 1 after bad input (2 of `verify` and `compare-stages`)."""
    status = 1
    try:
        parser = _parser()
        options, rest = parser.parse_known_args(arguments)
        if options.command == "run":
            options.arguments = rest
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        status = 2 if options.command in ("verify", "compare-stages") else 1
        return options.function(options) or 0
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        told = user_message(error)
        if told is None and isinstance(error, OSError) and error.filename:
            told = f"{error.filename}: {error.strerror}; correct the path."
        if told is None:
            raise
        print(f"Error: {told}", file=sys.stderr)
        return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ssc", description="Weakly supervised semantic segmentation with SSC.")
    parser.add_argument("--version", action="version", version=f"ssc {version('ssc-wsss')}")
    commands = parser.add_subparsers(dest="command", required=True)

    start = commands.add_parser(
        "start",
        help="write a table of labels for a folder of photos, from what is there",
        description="From the names of the photos' folders, their file names up to a number (cat_001.jpg) or keywords "
        "embedded in them. If there is a <folder>/classes.txt, the names in it, one per line, are the classes.",
    )
    start.set_defaults(function=_start)
    start.add_argument("folder", type=Path, help="the photos, in any folders below")
    start.add_argument(
        "--from",
        dest="source",
        choices=["folders", "names", "keywords"],
        help="where the labels are (default: where most photos have some)",
    )
    start.add_argument("--out", type=Path, help="table to write (default: <folder>/labels.csv)")
    start.add_argument("--force", action="store_true", help=_FORCE)

    run = commands.add_parser(
        "run",
        help="train on a data set: Snakemake with this project's workflow, from any folder",
        description="Takes all arguments of Snakemake, targets first. --config takes configuration files too, and "
        "knows ours by name: ssc run --config folder 'dataset={root: photos}'. Without --cores all of them are used.",
        usage="ssc run [targets] [--config FILE|KEY=VALUE ...] [arguments of Snakemake]",
        allow_abbrev=False,
    )
    run.set_defaults(function=_run)

    predict = commands.add_parser("predict", help="segment photos with a trained network")
    predict.set_defaults(function=_predict)
    predict.add_argument(
        "photos", nargs="+", type=Path, help="image or video files, folders of images, or patterns such as '*.jpg'"
    )
    predict.add_argument("--weights", required=True, type=Path, help="segmentation.safetensors of a run")
    predict.add_argument(
        "--out", required=True, type=Path, help="folder for <name>.png, <name>_overlay.png and predictions.csv"
    )
    predict.add_argument("--scales", nargs="+", type=_number(0, 8), help="test scales (default: the run's)")
    predict.add_argument(
        "--crf", action=argparse.BooleanOptionalAction, help="refine the result with a dense CRF (default: as the run)"
    )
    predict.add_argument("--fps", type=_number(0, 1000), help="frames to take of each second of a video (default: all)")
    predict.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n> (default: auto)")
    predict.add_argument("--force", action="store_true", help=_FORCE)

    evaluate = commands.add_parser("evaluate", help="mIoU of two folders or archives of label PNGs")
    evaluate.set_defaults(function=_evaluate)
    evaluate.add_argument("predictions", type=Path, help="folder of <id>.png, or a shard archive")
    evaluate.add_argument("masks", type=Path, help="ground truth likewise; 255 is ignored")
    evaluate.add_argument(
        "--num-classes", type=_number(0, 255, int), help="classes with background (default: largest id + 1)"
    )

    weights = commands.add_parser("import-weights", help="turn a published checkpoint into a weight file of ssc")
    weights.set_defaults(function=_import_weights)
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
        checkpoint.add_argument("--force", action="store_true", help=_FORCE)

    backbone = kinds.add_parser("backbone", help="ImageNet weights of any network, where a run looks for them")
    backbone.add_argument("source", type=Path, help="checkpoint of torchvision or timm, .pth or .safetensors")
    backbone.add_argument("output", type=Path, nargs="?", help="default: resources/weights/<network>.safetensors")
    backbone.add_argument("--network", help="its name in the configuration (default: the file's, up to the first -)")
    backbone.add_argument("--force", action="store_true", help=_FORCE)

    cams = commands.add_parser("convert-cams", help="turn CAMs of other code bases into files for ready.cams")
    cams.set_defaults(function=_convert_cams)
    cams.add_argument(
        "folder", type=Path, help="folder of <id>.npy of IRN, ReCAM, AffinityNet, SEAM, MCTformer or CLIP-ES"
    )
    cams.add_argument("output", type=Path, help="folder for <id>.npz")
    cams.add_argument("--force", action="store_true", help=_FORCE)

    stages = commands.add_parser(
        "compare-stages",
        help="how far two runs, or a run and another code base's results, agree at each stage",
        description="CAMs, seeds, labels and predictions of the images that both have. Status 0: all agree; 1: a stage "
        "does not; 2: nothing can be compared.",
    )
    stages.set_defaults(function=_compare_stages)
    stages.add_argument("first", type=Path, help="folder of a run, results/<data set>/<experiment>")
    stages.add_argument(
        "second",
        type=Path,
        help="another, or a folder with some of cams (<id>.npz, or another code's <id>.npy), irn_labels, "
        "pseudo_labels, confidence, predictions/<split> (<id>.png); the release's cam, ir_label and sem_seg are known "
        "too",
    )
    stages.add_argument(
        "--threshold", type=_number(0, 1), default=0.2, help="background threshold of the seeds (default: 0.2)"
    )

    export = commands.add_parser("export", help="write a run's masks for other tools: docs/exporting.md")
    export.set_defaults(function=_export)
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

    onnx = commands.add_parser("export-onnx", help="write a trained network for other programs: docs/exporting.md")
    onnx.set_defaults(function=_export_onnx)
    onnx.add_argument("weights", type=Path, help="segmentation.safetensors of a run")
    onnx.add_argument("output", type=Path, help="ONNX file to write")
    onnx.add_argument("--force", action="store_true", help=_FORCE)

    verify = commands.add_parser(
        "verify",
        help="compare a run's files with its manifest, two runs with each other, or a run with a register of results",
        description="Status 0: all is the same; 1: something differs; 2: a run or a register cannot be read, or has "
        "faults.",
    )
    verify.set_defaults(function=_verify)
    verify.add_argument("run", type=Path, help="folder of a run, or its manifest.json; or a register, <name>.jsonl")
    verify.add_argument("other", nargs="?", type=Path, help="another run to compare it with")

    register = commands.add_parser("register", help="add a run to a register of results: docs/proof.md")
    register.set_defaults(function=_register)
    register.add_argument("run", type=Path, help="folder of a run, or its manifest.json")
    register.add_argument("--who", required=True, help="name of who made the run")
    register.add_argument("--to", required=True, type=Path, help="the register, <name>.jsonl")

    crate = commands.add_parser("crate", help="write a run as an RO-Crate for archives of data: docs/proof.md")
    crate.set_defaults(function=_crate)
    crate.add_argument("run", type=Path, help="folder of a run, or its manifest.json")
    crate.add_argument("--out", required=True, type=Path, help="folder to make, or a .zip file")
    crate.add_argument("--who", help="name of who made the run (default: nobody is named)")
    crate.add_argument("--license", help="address of the results' licence (default: none is stated)")
    crate.add_argument("--force", action="store_true", help="replace a .zip that this command has not written")

    return parser


def _start(options: argparse.Namespace) -> None:
    from ssc.data.start import check_labels, label_folder, run_command
    from ssc.data.summary import summary
    from ssc.runtime.outputs import is_others

    folder, table = options.folder, options.out or options.folder / "labels.csv"
    if table.suffix == ".csv" and is_others(table, command="start") and not options.force:
        print(f"{table} is there and stays as it is; --force writes it anew.")
    else:
        source = label_folder(folder, table, source=options.source, force=options.force)
        print(f"Wrote {table} from the {source} of the photos.")
    print(summary(check_labels(folder, table)))
    print("Look the table over, then train:")
    print(run_command(folder, table))


def _run(options: argparse.Namespace) -> None:
    from ssc.workflow.project import snakemake_command

    command = snakemake_command(options.arguments)
    os.execv(command[0], command)  # which signals are to reach


def _predict(options: argparse.Namespace) -> int:
    from ssc.photo_files import check_segment_files, find_photos, segment_files
    from ssc.segmenter import load, settings_beside

    photos = find_photos(options.photos, out=options.out)
    check_segment_files(photos, options.out, force=options.force)
    settings = settings_beside(options.weights)
    changed = {"scales": options.scales} if options.scales else {}
    if options.crf is not None:
        changed["crf"] = settings.crf.model_copy(update={"enabled": options.crf})
    segmenter = load(options.weights, device=options.device, settings=settings.model_copy(update=changed))
    shown, broken = segment_files(segmenter, photos, options.out, fps=options.fps)
    for name, classes in list(shown.items())[:_TOLD]:
        print(f"{photos.get(name, Path(name)).name}: {', '.join(classes) or 'background only'}")
    if len(shown) > _TOLD:
        print(f"... and {len(shown) - _TOLD} more")
    print(f"Wrote {len(shown)} masks to {options.out}; areas, confidences and colours are in predictions.csv.")
    for told in broken.values():
        print(f"Error: {told}", file=sys.stderr)
    return int(bool(broken))


def _evaluate(options: argparse.Namespace) -> None:
    from ssc.interop.evaluate_folders import evaluate_folders

    figures = evaluate_folders(options.predictions, options.masks, num_classes=options.num_classes)
    print(f"mIoU {100 * figures['miou']:.2f} % over {figures['images']} images")
    for name, iou in figures["iou"].items():
        print(f"  {name:>12}  {'absent' if iou is None else f'{100 * iou:6.2f}'}")


def _import_weights(options: argparse.Namespace) -> None:
    from ssc.interop.backbone_weights import import_backbone
    from ssc.interop.released_weights import import_classifier, import_irn, import_segmentation
    from ssc.runtime.outputs import check_outputs, note_output
    from ssc.stages.download_weights import IMAGENET_FILES

    source, output = options.source, options.output
    if options.kind == "backbone":
        known = {file: name for name, file in IMAGENET_FILES.items()}
        name = options.network or known.get(source.name) or source.stem.split("-")[0]
        output = output or Path(f"resources/weights/{name}.safetensors")
    read = [source, *filter(None, (getattr(options, key, None) for key in ("reconstruction", "classes")))]
    check_outputs([output], command="import-weights", force=options.force, inputs=read)
    match options.kind:
        case "backbone":
            import_backbone(source, output, name.removesuffix("_v2"))
        case "classifier":
            import_classifier(source, output, reconstruction=options.reconstruction, classes=options.classes)
        case "irn":
            import_irn(source, output)
        case "segmentation":
            import_segmentation(source, output, classes=options.classes, output_stride=options.output_stride)
    note_output(output, command="import-weights")
    print(f"Wrote {output}.")


def _convert_cams(options: argparse.Namespace) -> None:
    from ssc.interop.released_cams import convert_cams

    print(f"Wrote {convert_cams(options.folder, options.output, force=options.force)} files to {options.output}.")


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


def _export_onnx(options: argparse.Namespace) -> None:
    from ssc.interop.onnx_file import export_onnx

    export_onnx(options.weights, options.output, force=options.force)
    print(f"Wrote {options.output}: photos in, labels and probabilities out, at one scale and without CRF.")


def _verify(options: argparse.Namespace) -> int:
    from ssc.workflow.verify import check_run, compare_runs

    if options.run.suffix == ".jsonl":
        return _verify_register(options.run, options.other)
    if not options.other:
        states = check_run(options.run)
        wrong = {path: state for path, state in states.items() if state != "same"}
        for path, state in wrong.items():
            print(f"{path}: {state}")
        print(f"{len(states) - len(wrong)} of {len(states)} files are as the manifest of {options.run} says.")
        return int(bool(wrong))
    config, versions, stages = compare_runs(options.run, options.other)
    for title, differences in (("Configuration", config), ("Versions and machine", versions)):
        _print_differences(title, differences)
    print("Results:")
    for stage, phrases in stages.items():
        print(f"  {stage}: {phrases[0] if phrases else 'the same'}")
        if phrases[1:]:
            print(f"    and {len(phrases) - 1} more that follow")
    differing = [stage for stage, phrases in stages.items() if phrases]
    print(f"The results differ, from {differing[0]} on." if differing else "The results are the same.")
    return int(bool(differing))


def _verify_register(register: Path, run: Path | None) -> int:
    from ssc.workflow.register import compare_with_register, read_register

    if not run:
        print(f"Entries: {len(read_register(register))}, each complete and in agreement with itself.")
        return 0
    found = compare_with_register(register, run)
    for entry, metrics, weights, machine in found:
        print(f"{entry.name} by {entry.who}, {entry.date}, and this run:")
        _print_differences("Versions and machine", machine)
        print(f"Figures in %:{'' if metrics else ' the same'}")
        for name, (theirs, ours) in metrics.items():
            by = "" if None in (theirs, ours) else f" ({ours - theirs:+.2f})"
            print(f"  {name}: {theirs} | {ours}{by}")
        print(f"Weights: {', '.join(weights) + ' differ' if weights else 'the same'}")
    return int(any(row.metrics or row.weights for row in found))


def _print_differences(title: str, differences: dict[str, tuple[object, object]]) -> None:
    print(f"{title}:{'' if differences else ' the same'}")
    for key, (ours, theirs) in differences.items():
        print(f"  {key}: {ours} | {theirs}")


def _register(options: argparse.Namespace) -> None:
    from ssc.workflow.register import register_run

    entry = register_run(options.run, options.to, who=options.who)
    print(
        f"Added {entry.name} to {options.to}: {len(entry.metrics)} rows of figures, {len(entry.weights)} weight files."
    )


def _crate(options: argparse.Namespace) -> None:
    from ssc.interop.crate import write_crate

    done = write_crate(options.run, options.out, who=options.who, license=options.license, force=options.force)
    print(f"Wrote {done.files} files to {options.out}; {done.named} more are named with their SHA-256.")
