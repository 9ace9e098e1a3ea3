"""torch.utils._pytree's names: nested containers taken apart into leaves, and built again."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from graphc.errors import InvalidArgument
from graphc.frontend.cycles import refuse_cycles

__all__ = [
    "LeafSpec",
    "PyTree",
    "TreeSpec",
    "register_pytree_node",
    "tree_all",
    "tree_any",
    "tree_flatten",
    "tree_iter",
    "tree_leaves",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_structure",
    "tree_unflatten",
]

PyTree = Any
IsLeaf = Callable[[Any], bool] | None


class Kind(NamedTuple):
    """How containers of one class are taken apart: into children and a context, and back."""

    flatten: Callable[[Any], tuple[list[Any], Any]]
    unflatten: Callable[[Iterable[Any], Any], Any]

    @property
    def flatten_fn(self) -> Callable[[Any], tuple[list[Any], Any]]:
        """`flatten`, as PyTorch has it."""
        return self.flatten

    @property
    def unflatten_fn(self) -> Callable[[Iterable[Any], Any], Any]:
        """`unflatten`, as PyTorch has it."""
        return self.unflatten


def _mapping(kind: type[Any]) -> Kind:
    return Kind(lambda d: (list(d.values()), list(d)), lambda xs, keys: kind(zip(keys, xs)))


KINDS: dict[type[Any], Kind] = {
    tuple: Kind(lambda t: (list(t), None), lambda xs, _: tuple(xs)),
    list: Kind(lambda t: (list(t), None), lambda xs, _: list(xs)),
    dict: _mapping(dict),
    OrderedDict: _mapping(OrderedDict),
    defaultdict: Kind(
        lambda d: (list(d.values()), (d.default_factory, list(d))),
        lambda xs, made: defaultdict(made[0], zip(made[1], xs)),
    ),
    deque: Kind(lambda t: (list(t), t.maxlen), lambda xs, most: deque(xs, maxlen=most)),
    namedtuple: Kind(lambda t: (list(t), type(t)), lambda xs, kind: kind(*xs)),  # type: ignore[dict-item]
}


class MappingKey(NamedTuple):
    """A step of the way to a leaf: the key of a mapping."""

    key: Any


class TreeSpec:
    """The shape of a tree: its class, its context, and the shapes of its children."""

    def __init__(self, type: Any, context: Any, children_specs: list[TreeSpec]) -> None:
        self.type = type
        self.context = context
        self.children_specs = children_specs
        self.num_children = len(children_specs)
        self.num_nodes: int = 1 + sum(c.num_nodes for c in children_specs)
        self.num_leaves: int = sum(c.num_leaves for c in children_specs) if type is not None else 1

    def is_leaf(self) -> bool:
        return self.type is None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TreeSpec):
            return NotImplemented
        mine = (self.type, self.context, self.children_specs)
        return mine == (other.type, other.context, other.children_specs)

    def __hash__(self) -> int:
        return hash((self.type, repr(self.context), tuple(self.children_specs)))

    def __repr__(self) -> str:
        if self.is_leaf():
            return "*"
        return f"TreeSpec({self.type.__name__}, {self.context!r}, {self.children_specs!r})"


def LeafSpec() -> TreeSpec:
    """The shape of what is no container."""
    return TreeSpec(None, None, [])


def register_pytree_node(
    cls: type[Any],
    flatten_fn: Callable[[Any], tuple[list[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any],
    **options: Any,
) -> None:
    """Let objects of `cls` be containers."""
    if cls in KINDS:
        raise InvalidArgument(f"{cls} is already registered as pytree node.")
    KINDS[cls] = Kind(flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node
SUPPORTED_NODES = KINDS
_list_flatten, _list_unflatten = KINDS[list]


def _get_node_type(tree: Any) -> Any:
    """The class by which `SUPPORTED_NODES` has a container, if it is one."""
    return _kind_of(tree) or type(tree)


def _kind_of(tree: Any) -> Any:
    kind = type(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields") and kind not in KINDS:
        return namedtuple
    return kind if kind in KINDS else None


def tree_flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeSpec]:
    """The leaves from left to right, and the shape of the tree."""
    try:
        return _flattened(tree, is_leaf)
    except RecursionError:
        refuse_cycles(tree, lambda x: KINDS[k].flatten(x)[0] if (k := _kind_of(x)) else ())
        raise


def _flattened(tree: Any, is_leaf: IsLeaf) -> tuple[list[Any], TreeSpec]:
    kind = _kind_of(tree)
    if kind is None or (is_leaf is not None and is_leaf(tree)):
        return [tree], LeafSpec()
    children, context = KINDS[kind].flatten(tree)
    leaves: list[Any] = []
    specs = []
    for child in children:
        found, spec = _flattened(child, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(kind, context, specs)


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of that shape with these leaves."""
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise InvalidArgument(
            f"tree_unflatten: {len(given)} leaves for a tree that has {treespec.num_leaves}"
        )
    return _built(iter(given), treespec)


def _built(leaves: Any, spec: TreeSpec) -> Any:
    if spec.is_leaf():
        return next(leaves)
    children = [_built(leaves, child) for child in spec.children_specs]
    return KINDS[spec.type].unflatten(children, spec.context)


def tree_leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: Any, is_leaf: IsLeaf = None) -> Iterable[Any]:
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: Any, is_leaf: IsLeaf = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """`func` of each leaf, and of those at the same places in the other trees."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = []
    for rest in rests:
        found, theirs = tree_flatten(rest, is_leaf)
        if theirs != spec:
            raise InvalidArgument(f"tree_map: trees of different shape: {spec} and {theirs}")
        others.append(found)
    return tree_unflatten([func(*row) for row in zip(leaves, *others)], spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """`tree_map` for what `func` does to each leaf; the tree itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(kind: Any, func: Any, tree: Any = None, is_leaf: IsLeaf = None) -> Any:
    """`func` of each leaf of a class (or of several, or that a predicate takes)."""

    def wanted(x: Any) -> bool:
        return isinstance(x, kind) if isinstance(kind, type | tuple) else bool(kind(x))

    return tree_map(lambda x: func(x) if wanted(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    return any(map(pred, tree_leaves(tree, is_leaf)))


def _dict_flatten(d: dict[Any, Any]) -> tuple[list[Any], list[Any]]:
    return list(d.values()), list(d)


def _dict_flatten_with_keys(d: dict[Any, Any]) -> tuple[list[tuple[Any, Any]], list[Any]]:
    return [(MappingKey(k), v) for k, v in d.items()], list(d)


def _dict_unflatten(values: Iterable[Any], context: list[Any]) -> dict[Any, Any]:
    return dict(zip(context, values))
