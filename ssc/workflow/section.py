"""A section of the configuration as a class: how its values are read, and which of them results depend on."""

import difflib
from collections.abc import Iterator
from typing import ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

_TRUTH = {"true": True, "false": False}


class Section(BaseModel):
    """A section: its fields are its keys.

    Text that reads as a value of the key's type becomes one: Snakemake hands over the numbers inside
    `--config key={...}` as text, and YAML 1.1 reads 1e-4 as text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    aside: ClassVar[frozenset[str]] = frozenset()
    """Keys that no result depends on."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: object) -> object:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                known = list(cls.model_fields)
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
                raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        """Read `true`, `false`, `null` and `none`; they are read as numbers nowhere."""
        kind = cls.model_fields[info.field_name].annotation
        word = value.strip().lower() if isinstance(value, str) else None
        if kind is bool:
            value = _TRUTH.get(word, value)
            if not isinstance(value, bool):
                raise PydanticCustomError("truth_value", "Input should be true or false")
        elif any(isinstance(item, bool) for item in (value if isinstance(value, list) else [value])):
            raise PydanticCustomError("truth_value", "Input should not hold a truth value")
        elif type(None) in get_args(kind) and word in ("null", "none"):
            value = None
        return value

    def decisive(self) -> dict:
        """The keys that a result depends on: of a part that is off, no more than that it is.

        A part that is off by default is left out, so that one that is added to its section changes no earlier result.
        """
        found = {}
        for key, value in self:
            if key in self.aside:
                continue
            if not isinstance(value, Section):
                found[key] = value
            elif getattr(value, "enabled", True):
                found[key] = value.decisive()
            elif type(value).model_fields["enabled"].default:
                found[key] = {"enabled": False}
        return found

    def has_auto(self) -> bool:
        """Whether a value is `auto`."""
        return any(value == "auto" for _, value in self)

    def words(self) -> Iterator[str]:
        """Names that choose among the entries of a table of code: values that are text, and the parts that are on."""
        for key, value in self:
            if isinstance(value, str):
                yield value
            elif isinstance(value, Section) and getattr(value, "enabled", True):
                yield key
                yield from value.words()
