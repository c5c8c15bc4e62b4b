from ssc.constants import voc_palette


def test_colours_of_the_voc_development_kit():
    palette = voc_palette()
    colours = {label: tuple(palette[3 * label : 3 * label + 3]) for label in range(256)}
    assert len(palette) == 768
    assert len(set(colours.values())) == 256
    assert [colours[label] for label in (0, 1, 2, 4, 8, 15, 20, 255)] == [
        (0, 0, 0),
        (128, 0, 0),  # aeroplane
        (0, 128, 0),  # bicycle
        (0, 0, 128),  # boat
        (64, 0, 0),  # cat
        (192, 128, 128),  # person
        (0, 64, 128),  # television
        (224, 224, 192),  # ignore
    ]
