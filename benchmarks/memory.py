"""Memory of a training step of the classifier beside the paper's Table IX: bytes that autograd saves for backward.

    python -m benchmarks.memory

The paper gives the memory of a GPU for ResNet-50, 512 px and a batch of 6. Of what the released formulation saves in
the forward pass, a part is gone when backward begins (`held` is the rest); ours, with `memory: fast` and `lean`, holds
all that it saves.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from benchmarks.harness import Figure, Row, run
from benchmarks.released_step import released_classifier, released_decoder, released_losses
from ssc.losses import ClassifierStep, classifier_losses
from ssc.models import CAMClassifier, ReconstructionNet
from ssc.models.size import saved_bytes
from ssc.report.paper import results
from ssc.training.classifier import build_reconstruction_loss, classifier_arguments, decoder_arguments
from ssc.workflow.settings import Classifier

# Rows of Table IX by the paper's names: the parts of the method that each has.
ROWS = {
    "baseline": (),
    "baseline + DRS": ("drs",),
    "baseline + DRS + CDR": ("drs", "cdr"),
    "baseline + DRS + CDR + ASM": ("drs", "cdr", "asm"),
}
BATCH = 6  # photos per step in Table IX
CLASSES, PRESENT, REGIONS = 20, 2, 64


def with_parts(settings: Classifier, parts: Sequence[str]) -> Classifier:
    """The settings with these of DRS, CDR and ASM, and no other."""
    switched = {
        part: getattr(settings, part).model_copy(update={"enabled": part in parts}) for part in ("drs", "cdr", "asm")
    }
    return settings.model_copy(update=switched)


def saved_by_image(settings: Classifier) -> dict[str, int]:
    """Bytes that a training step of one image saves for its backward pass, by formulation.

    Runs the forward pass on the CPU, with random weights, noise as photo, two classes in it, and regions of equal size;
    none of these changes the bytes but the number of classes present, which ours grows with.

    Returns:
        `released`, all bytes that the released formulation saves; `held`, those of them that are still there when
        backward begins; `fast` and `lean`, the bytes that ours saves.
    """
    size = settings.crop
    image = torch.randn(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(CLASSES) < PRESENT).float()[None]
    regions = (torch.arange(size * size) * REGIONS // (size * size)).view(1, size, size)
    model = CAMClassifier(**classifier_arguments(settings, CLASSES)).eval()
    decoder = ReconstructionNet(**decoder_arguments(model, settings.cdr, size))
    reconstruction_loss = build_reconstruction_loss(settings.cdr, None)

    def saved(networks: Sequence[nn.Module], losses: Callable, **options: int) -> tuple[int, int]:
        networks = [network.to(memory_format=torch.channels_last).train() for network in networks]
        constant = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]

        def step() -> dict[str, torch.Tensor]:
            outputs = networks[0].forward_features(image)
            return losses(ClassifierStep(image, labels, regions, *outputs, *networks[1:]), settings, **options)

        return saved_bytes(step, leave_out=[image, *constant])

    released = [released_classifier(model, settings), released_decoder(decoder), reconstruction_loss]
    found = dict(zip(("released", "held"), saved(released, released_losses), strict=True))
    for memory in ("fast", "lean"):
        decoder.recompute = memory == "lean"
        epoch = max(settings.cdr.start_epoch, settings.asm.start_epoch)
        found[memory], _ = saved([model, decoder, reconstruction_loss], classifier_losses, epoch=epoch)
    return found


def measure(*, quick: bool) -> Row:
    """Bytes saved for backward in the rows of Table IX: the released formulation, ours fast and lean."""
    settings = Classifier(crop=64, backbone="resnet18") if quick else Classifier()
    table = results().query("table == 'IX'")
    paper = dict(zip(table["method"], table["value"], strict=True))
    figures = []
    for name, parts in ROWS.items():
        saved = saved_by_image(with_parts(settings, parts))
        what = f"{name} (paper: {paper[name]} GB)" if name in paper else name
        megabytes = {formulation: size / 1e6 for formulation, size in saved.items()}
        figures.append(Figure(what, saved["released"] * BATCH / 1e9, "GB", parts=megabytes, parts_unit="MB per image"))
    return Row(
        "memory",
        f"saved for backward, {settings.backbone}, {settings.crop} px: the released formulation, what of it is held to "
        f"the end, ours fast and lean; result: released, batch {BATCH}",
        figures,
    )


if __name__ == "__main__":
    run(measure)
