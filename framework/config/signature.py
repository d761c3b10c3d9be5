"""The parameters of a class or function, and which values they take; jsonargparse knows both."""

from __future__ import annotations

import copy
import inspect
import re
from argparse import ArgumentError
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import jsonargparse
import torch
from jsonargparse import _parameter_resolvers as resolvers
from jsonargparse._common import parsing_settings  # to put back what is set: the package has nothing for it
from jsonargparse.typing import register_type

from framework.config.places import Path, shown
from framework.config.wanted import nearest_of, wanted

_AS_IT_IS = "as-it-is"
_MARK = "\ue000\ue001\ue000"  # of the private use area; before a text it keeps that from being taken for a number
_NUMBERS = (bool, int, float, type(None))
_DENIED = re.compile(r"Importing '([\w.]+)' is not allowed")
_LACKING = re.compile(r"the following arguments are required: ([\w., ]+)")

jsonargparse.set_loader(_AS_IT_IS, lambda text: text)
for _type, _prefix in ((torch.device, ""), (torch.dtype, "torch.")):
    _make: Callable[[Any], Any] = (
        torch.device if _type is torch.device else lambda name: getattr(torch, str(name).removeprefix("torch."))
    )
    register_type(_type, serializer=str, deserializer=_make, deserializer_exceptions=(RuntimeError, AttributeError, TypeError))


@contextmanager
def only(allowed: Iterable[str]) -> Iterator[None]:
    """Lets jsonargparse import the allowed names alone, and what lies under them; afterwards its settings are as they were.

    A default such as `nn.ReLU()` stays the object that it is: it would be turned into a name, which then had to be allowed.
    """
    before, replaced = dict(parsing_settings), resolvers.is_param_subclass_instance_default
    resolvers.is_param_subclass_instance_default = lambda param: False
    parsing_settings["import_path_verdicts"] = {}
    jsonargparse.set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=sorted(allowed),
        instantiate_subclass_spec_in_any=False,
        unset_sentinel=True,
    )
    try:
        yield
    finally:
        parsing_settings.clear()
        parsing_settings.update(before)
        resolvers.is_param_subclass_instance_default = replaced


class Unfit(Exception):  # noqa: N818  # it is told as a mistake in the configuration
    """A value does not fit its parameter.

    Attributes:
        denied: the name that it would have imported, "" for none.
        lacking: the arguments that a class in it needs, "" for none.
    """

    def __init__(self, sentence: str, denied: str = "", lacking: str = "") -> None:
        super().__init__(sentence)
        self.denied, self.lacking = denied, lacking


class Signature:
    """What a class or function takes.

    Args:
        component: the class or function.
        allowed: names that values may import, and what lies under them.

    Attributes:
        names: of the parameters, those handed on by `**kwargs` too.
        required: those without a default.
        open: whether it takes any other name as well.

    Example:
        >>> from framework import EMA
        >>> from framework.config.signature import Signature
        >>> signature = Signature(EMA, [])
        >>> signature.names, signature.fitted("decay", 0.99), signature.default("decay")
        (['decay'], 0.99, 0.999)
    """

    def __init__(self, component: Callable[..., Any], allowed: Iterable[str]) -> None:
        self._component, self._allowed = component, allowed
        self._parser, added = self._make_parser()
        self.names = list(dict.fromkeys(name.split(".")[0] for name in added))
        own = [each for each in _parameters(component) if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        self._own = {each.name for each in own}
        self.required = [each.name for each in own if each.default is each.empty]
        actions = {action.dest: action for action in self._parser._actions}
        self.required += [
            name for name in self.names if name not in self.required and getattr(actions.get(name), "required", False)
        ]
        self._actions = actions
        taking_all = any(each.kind is each.VAR_KEYWORD for each in _parameters(component))
        self.open = taking_all and len(self.names) == len(own)

    def _make_parser(self, without: Collection[str] = ()) -> tuple[jsonargparse.ArgumentParser, list[str]]:
        """Returns a parser of the parameters and the names of its arguments."""
        parser = jsonargparse.ArgumentParser(exit_on_error=False, parser_mode=_AS_IT_IS, add_help=False, default_env=False)
        add = parser.add_class_arguments if inspect.isclass(self._component) else parser.add_function_arguments
        with only(self._allowed):
            return parser, add(self._component, fail_untyped=False, skip={*without})

    def default(self, name: str) -> Any:
        """Returns the default of a parameter, `inspect.Parameter.empty` where there is none that is plain and reads back.

        Of what `**kwargs` hands on nobody knows it: the code in between may have another.
        """
        value = _plain(self._actions[name].default)
        if name in self.required or name not in self._own or value is inspect.Parameter.empty:
            return inspect.Parameter.empty
        try:
            self.fitted(name, value)
        except Unfit:
            return inspect.Parameter.empty
        return value

    def fitted(self, name: str, value: Any) -> Any:
        """Returns a value as its parameter wants it; of a class in it a description.

        Raises:
            Unfit: it does not fit.
        """
        return _unmarked(self._read(name, value))

    def _read(self, name: str, value: Any) -> Any:
        """Returns a value as its parameter wants it; texts such as "3" and "no" keep a mark, where text is allowed."""
        parsed = self._parsed(name, value)
        return self._parsed(name, _marked(value), value) if _turned(value, parsed) else parsed

    def _parsed(self, name: str, value: Any, said: Any = None) -> Any:
        action = self._actions[name]
        if (
            not hasattr(action, "_typehint") and action.type is None and not isinstance(value, dict)
        ):  # fields, of which none is given
            raise self._unfit(name, value, "")
        try:
            with only(self._allowed):
                result = self._parser.parse_object({name: copy.deepcopy(value)}, env=False, defaults=False, _skip_required=True)
        except ArgumentError as error:
            raise self._unfit(name, value if said is None else said, str(error)) from error
        return result[name]

    def _unfit(self, name: str, value: Any, message: str) -> Unfit:
        denied, lacking = _DENIED.search(message), _LACKING.search(message)
        hint, spec = self._hint(name), next(iter(specs_in(value)), None)
        sentence = (
            f"should be {wanted(hint)}, got {shown(value) if spec is None else spec[1]['class_path']}.{nearest_of(hint, value)}"
        )
        if spec is not None and get_origin(hint) is Callable:
            sentence += f" Annotate {name} as nn.Module, or as what it should be, for a class with arguments."
        return Unfit(sentence, denied[1] if denied else "", lacking[1] if lacking else "")

    def structure(self, name: str) -> type | None:
        """Returns the dataclass that a parameter takes, None where it takes none."""
        hint = self._hint(name)
        return next((each for each in (hint, *get_args(hint)) if inspect.isclass(each) and is_dataclass(each)), None)

    def takes_anything(self, name: str, value: Any) -> bool:
        """Tells whether the parameter would take the classes in a value as they are written, and make nothing of them."""
        nowhere = _replaced(value)
        try:
            self._parsed(name, nowhere)
        except Unfit:
            return False
        return True

    def _hint(self, name: str) -> Any:
        action = self._actions[name]
        hint = getattr(action, "_typehint", action.type)
        if hint is not None:
            return hint
        called = self._component.__init__ if inspect.isclass(self._component) else self._component
        return get_type_hints(called).get(name, Any)  # of a dataclass, whose fields have actions of their own

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Calls the class or function, with the classes in the arguments made first.

        Args:
            arguments: values that fit. One that is the default as it is written is left out: a tuple is a list there.

        Raises:
            BaseException: whatever the user's code raises, as it is.
        """
        others = {name: value for name, value in arguments.items() if name not in self.names}
        known = {name: value for name, value in arguments.items() if name not in others and repr(value) != repr(self.default(name))}
        parser, _ = self._make_parser(without={*self.names} - {*known})  # dataclasses that are not given would be made
        fitted = _namespace({name: self._read(name, value) for name, value in known.items()})
        errors: list[Exception] = []

        def make(cls: type, *args: Any, **kwargs: Any) -> Any:
            try:
                return cls(*args, **_unmarked(kwargs))
            except Exception as error:
                errors.append(error)
                raise

        made = fitted
        try:
            with only(self._allowed):
                made = parser.instantiate(fitted, instantiators=[(make, object, True)])
        except Exception as error:  # noqa: BLE001  # raised below: the first one, not what jsonargparse makes of it
            errors.append(error)
        if errors:
            raise errors[0]
        return self._component(**{name: _unmarked(made[name]) for name in known}, **others)


def specs_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields the outermost mappings in a value that name a class, with where they are in it."""
    if isinstance(value, dict) and "class_path" in value:
        yield path, value
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from specs_in(each, (*path, key))


def _replaced(value: Any) -> Any:
    """Returns a value with names that nothing can have in the place of its classes."""
    if isinstance(value, dict):
        return {"class_path": "?"} if "class_path" in value else {key: _replaced(each) for key, each in value.items()}
    return [_replaced(each) for each in value] if isinstance(value, list) else value


def _namespace(values: Mapping[str, Any]) -> jsonargparse.Namespace:
    return jsonargparse.Namespace(dict(values))  # type: ignore[no-untyped-call]


def _parameters(component: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(component).parameters.values())


def _plain(value: Any) -> Any:
    """Returns a value of plain types, tuples as lists; `inspect.Parameter.empty` for any other."""
    if isinstance(value, list | tuple):
        items = [_plain(each) for each in value]
        return inspect.Parameter.empty if inspect.Parameter.empty in items else items
    if isinstance(value, dict):
        named = {key: _plain(each) for key, each in value.items()}
        broken = inspect.Parameter.empty in named.values() or not all(isinstance(key, str) for key in named)
        return inspect.Parameter.empty if broken else named
    return value if type(value) in (str, *_NUMBERS) else inspect.Parameter.empty


def _turned(given: Any, parsed: Any) -> bool:
    """Tells whether a text has become a number, a boolean or None anywhere in a value."""
    if isinstance(given, str):
        return type(parsed) in _NUMBERS
    if isinstance(given, list):
        if isinstance(parsed, set | frozenset):
            return any(type(each) in _NUMBERS and each not in given for each in parsed)
        return isinstance(parsed, list | tuple) and any(map(_turned, given, parsed))
    if isinstance(given, dict):
        held = vars(parsed) if isinstance(parsed, jsonargparse.Namespace) else parsed
        if isinstance(held, dict) and "init_args" in held and "init_args" not in given and "class_path" not in given:
            held = vars(held["init_args"])
        return isinstance(held, Mapping) and any(_turned(value, held[key]) for key, value in given.items() if key in held)
    return False


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return _MARK + value
    if isinstance(value, list):
        return [_marked(each) for each in value]
    if isinstance(value, dict):
        return {key: each if key == "class_path" else _marked(each) for key, each in value.items()}
    return value


def _unmarked(value: Any) -> Any:
    if type(value) is str:  # and no member of an enum that is a text too
        return value.removeprefix(_MARK)
    if isinstance(value, list | tuple | set | frozenset):
        items = [_unmarked(each) for each in value]
        return type(value)(items) if type(value) in (list, tuple, set, frozenset) else value
    if isinstance(value, jsonargparse.Namespace):
        return _namespace({key: _unmarked(each) for key, each in vars(value).items()})
    return {key: _unmarked(each) for key, each in value.items()} if isinstance(value, dict) else value
