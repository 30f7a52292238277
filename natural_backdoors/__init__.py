"Find objects in an image dataset that could already serve as a physical backdoor trigger, and measure whether they work"
__version__ = "0.1.0"

from importlib import import_module as _import_module

# Names of the front door and the module each is in. They are loaded when first touched, so that the package is light to
# import, and torch and fastai are loaded only with a name that trains.
_MODULE_OF = {
    "UserError": "core", "MissingPackage": "core",
    "make_scenes": "scenes", "scene_labels": "scenes",
    "Dataset": "datasets", "available": "datasets", "open_dataset": "datasets", "check_manager": "check",
    "LabelMatrix": "labels",
    "TableDataset": "table", "MultiHot": "multihot", "CelebA": "multihot",
    "OpenImages": "openimages", "OpenImagesLabels": "openimages_labels",
    "ImageNetReaL": "imagenet", "ImageNetReLabel": "relabel",
    "Coco": "coco", "Lvis": "coco", "PascalVOC": "voc", "Yolo": "yolo",
    "HuggingFace": "huggingface", "FiftyOne": "fiftyone",
    "Overlaps": "overlaps", "count_overlaps": "overlaps", "load_overlaps": "overlaps", "shard_overlaps": "shards",
    "CoGraph": "graph", "co_graph": "graph",
    "draw_neighbourhood": "plots",
    "draw_heat_map": "heatmap",
    "Triggers": "triggers", "find_triggers": "triggers", "load_triggers": "triggers",
    "find_pairs": "several", "disjoint_triggers": "several", "compare_measures": "compare",
    "Selection": "selection",
    "export_split": "export", "load_export": "export", "dataset_card": "card",
    "PoisonSplit": "poison", "poison_split": "poison", "several_split": "many", "write_datafile": "poison",
    "make_learner": "train", "train_split": "train",
    "load_model": "models",
    "evaluate_run": "evaluate", "comparison_table": "evaluate",
    "sweep": "sweep", "make_grid": "sweep", "sweep_on": "cluster", "reproduce": "reproduce",
    "TriggerPicker": "picker", "write_report": "report",
}
__all__ = list(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
