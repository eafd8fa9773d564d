"""The original's classes: a checkpoint that is exported, compiled and generated from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union

import numpy as np

from expertile import _core, log
from expertile.arrays import Ids, TokenIds, token_ids
from expertile.chat import Chat, with_urls
from expertile.errors import InvalidArgument, unsupported
from expertile.named_images import ProgramPath, encode_pixels
from expertile.generation import CHOICES, ExecInfo, Generation, perf_metrics
from expertile.options import with_options
from expertile.original import check_target, notes_of, signature_of, translate
from expertile.profile import Profile
from expertile.progress import Progress, Wanted
from expertile.sessions import Session

PathLike = Union[str, "os.PathLike[str]"]
Compiled = Union[str, Dict[str, str]]
Self = TypeVar("Self", bound="_AutoModel")
Prepared = Tuple[Ids, List[_core.EncodedImage]]


class _AutoModel:
    """What the two classes share."""

    def __init__(self, model: _core.Model) -> None:
        self.model = model
        self.program: Optional[_core.Program] = None
        self._session: Optional[Session] = None
        self._chat: Optional[Chat] = None
        self._tokenizer: Optional[_core.Tokenizer] = None

    @classmethod
    def from_pretrained(cls: Type[Self], pretrained_model_name_or_path: PathLike, **options: Any) -> Self:
        """Opens a checkpoint's folder as the Hugging Face hub has them. Weights are mapped, not read."""
        left = translate("from_pretrained", options)
        if left:
            raise TypeError(f"from_pretrained() got an unexpected keyword argument '{next(iter(left))}'")
        log.refresh()
        model = _core.Model.load(Path(pretrained_model_name_or_path))
        config = options.get("config")
        layers = getattr(getattr(config, "text_config", config), "num_hidden_layers", model.description.num_layers)
        if layers != model.description.num_layers:
            raise unsupported(f"config: {layers} layers, the checkpoint has {model.description.num_layers}")
        return cls(model)

    @property
    def description(self) -> _core.ModelDescription:
        return self.model.description

    @property
    def tokenizer(self) -> _core.Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = _core.Tokenizer.load(self.model.folder)
        return self._tokenizer

    def export(self, export_dir: Optional[PathLike] = None, *, progress: Wanted = None, **options: Any) -> str:
        """Writes ONNX graphs to `export_dir`, or to the compile cache; returns their folder."""
        log.refresh()
        given = translate("export", {**options, "target": "onnx"})
        given.pop("target")
        with Progress("exporting", progress) as callback:
            if export_dir is None:
                return str(self.model.compile_to_disk(callback, target="onnx", **given).folder)
            self.model.export_onnx(Path(export_dir), callback, **given)
        return str(export_dir)

    def _compile(self, options: Dict[str, Any], progress: Wanted) -> _core.CompiledProgram:
        log.refresh()
        translated = translate("compile", options)
        self.program = self._session = self._chat = None
        with Progress("compiling", progress) as callback:
            made = self.model.compile_to_disk(callback, **translated)
        target = check_target(translated)
        if target is not None and target.runs_here:
            self.program = _core.Program.open(made.folder)
        return made

    def profile(self, prompt: Union[str, TokenIds]) -> Profile:
        """How the prompt's tokens lie on experts, layers and NSPs; the program needs moe_prefill_num_nsp."""
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        return Profile(self._compiled(), ids)

    def session(self) -> Session:
        """A new session of the program that compile() made last."""
        return Session(self._compiled())

    def _compiled(self) -> _core.Program:
        if self.program is None:
            raise TypeError("compile() comes before generate(), for a target that runs here")
        return self.program

    def _continue(self, prompts: Sequence[Prepared], max_new_tokens: Optional[int], **options: Any) -> Generation:
        """On the model's own session, emptied."""
        if self._session is None:
            self._session = self.session()
        session = self._session
        for sequence in range(session.batch_size):
            session.clear(sequence)
        if max_new_tokens is None:
            max_new_tokens = session.ctx_len - max(len(ids) for ids, _ in prompts)
        return session.generate([prompt for prompt in prompts], max_new_tokens, **options)

    def _generate(self, prompts: Sequence[Prepared], tokenizer: Any, options: Dict[str, Any]) -> ExecInfo:
        """All prompts, batch_size at a time: what runs beside a prompt does not change what it gets."""
        batch_size = int(self._compiled().options["batch_size"])
        token_lists: List[List[int]] = []
        reasons: List[str] = []
        statistics = []
        for first in range(0, len(prompts), batch_size):
            generation = self._continue(prompts[first : first + batch_size], **options)
            for _ in generation:
                pass
            result = generation.result()
            token_lists += result["token_ids"]
            reasons += result["finish_reasons"]
            statistics.append(result["statistics"])
        ends = self._compiled().end_token_ids
        width = max((len(ids) for ids in token_lists), default=0)
        padded = np.full((len(token_lists), width), ends[0] if ends else 0, dtype=np.int64)
        for row, ids in zip(padded, token_lists):
            row[: len(ids)] = ids
        texts = [self._decode(tokenizer, ids) for ids in token_lists]
        return ExecInfo(min(batch_size, len(prompts)), texts, padded, perf_metrics(statistics, len(prompts)), reasons)

    def _encode(self, tokenizer: Any, text: str) -> Ids:
        return self.tokenizer.encode(text) if tokenizer is None else token_ids(tokenizer.encode(text))

    def _decode(self, tokenizer: Any, ids: Sequence[int]) -> str:
        if tokenizer is None:
            return self.tokenizer.decode(token_ids(ids), skip_special_tokens=True)
        return str(tokenizer.decode(ids, skip_special_tokens=True))

    def chat(self, messages: Sequence[Dict[str, Any]], tools: Optional[Sequence[Dict[str, Any]]] = None, **request: Any) -> Any:
        """The next message of a conversation; with stream=True an iterator of (reasoning, content).

        Sampled as the checkpoint says. expertile.Chat says what `request` may hold.
        """
        if self._chat is None:
            self._chat = Chat(self._compiled())
        if request.pop("stream", False):
            return self._chat.stream(messages, tools=tools, **request)
        return self._chat.reply(messages, tools, **request)


def _generation_options(call: Mapping[str, Any]) -> Dict[str, Any]:
    """Of generate(): greedy as the original's, unless something else is chosen. `automation` ignores end tokens."""
    given = {name: value for name, value in call.items() if name not in ("generation_len", "automation", *CHOICES)}
    left = translate("generate", given)
    if left:
        raise TypeError(f"generate() got an unexpected keyword argument '{next(iter(left))}'")
    length = call.get("generation_len")
    if length is not None and not isinstance(length, (int, np.integer)):
        raise InvalidArgument(f"generation_len: {length!r}, expected a number of tokens")
    if length is not None and length < 1:
        raise InvalidArgument(f"generation_len: {length}, expected at least 1")
    options = {name: call[name] for name in CHOICES if call.get(name) is not None}
    options.setdefault("temperature", 0.0)
    if call.get("automation"):
        options["end_token_ids"] = []
    return {"max_new_tokens": length, **options}


class AutoModelForCausalLM(_AutoModel):
    """A model of text, as the original's QEFFAutoModelForCausalLM."""

    def compile(self, compile_dir: Optional[PathLike] = None, *, progress: Wanted = None, **options: Any) -> Compiled:
        """Makes a program in `compile_dir` or the compile cache, and opens it; the same weights and options are compiled once.

        Returns the program's folder, which InferenceSession and Program.open take. Of target qaic with
        several programs: their folders by name.
        """
        made = self._compile({**options, "compile_dir": compile_dir}, progress)
        if len(made.qaic) > 1:
            return {qaic.name: str(qaic.folder) for qaic in made.qaic}
        return str(made.qaic[0].folder if made.qaic else made.folder)

    def generate(self, tokenizer: Any = None, prompts: Union[None, str, Sequence[str]] = None, **options: Any) -> ExecInfo:
        """Continues prompts, greedily unless temperature, top_k, ... say else.

        generation_len defaults to what fits. Without a tokenizer the checkpoint's own is used.
        """
        given = [prompts] if isinstance(prompts, str) else list(prompts or [])
        if not given:
            raise InvalidArgument("prompts: none")
        for prompt in given:
            if not isinstance(prompt, str):
                raise InvalidArgument(f"prompts: {type(prompt).__name__}, expected texts")
        prepared: List[Prepared] = [(self._encode(tokenizer, text), []) for text in given]
        return self._generate(prepared, tokenizer, _generation_options(options))

    def stream(self, prompt: str, tokenizer: Any = None, **options: Any) -> Iterator[str]:
        """generate() of one prompt, as pieces of text while they are made."""
        prepared: Prepared = (self._encode(tokenizer, prompt), [])
        text = _core.TextStream(self.tokenizer, True)
        for _, token in self._continue([prepared], **_generation_options(options)):
            piece = text.push(token)
            if piece:
                yield piece
        rest = text.flush()
        if rest:
            yield rest


def _shared_out(pictures: List[Any], num_tokens: int, tokens_of: Callable[[Any], int]) -> List[Any]:
    """Takes from `pictures` those that a row with so many image tokens begins with."""
    own: List[Any] = []
    while pictures and sum(map(tokens_of, own)) < num_tokens:
        own.append(pictures.pop(0))
    return own


def _asked(prompts: Union[str, Sequence[str]], images: Union[None, PathLike, Sequence[PathLike]]) -> List[List[Any]]:
    """A conversation for each prompt."""
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    files = [images] if isinstance(images, (str, os.PathLike)) else list(images or [])
    if files and len(files) != len(texts):
        raise InvalidArgument(f"images: {len(files)}, for {len(texts)} prompts")
    pictures = [[{"type": "image", "image": file}] for file in files] or [[]] * len(texts)
    return [
        [{"role": "user", "content": [*picture, {"type": "text", "text": text}]}] for picture, text in zip(pictures, texts)
    ]


class ImageModel:
    """The original's `.model`: the checkpoint, and what its processor's inputs become for programs."""

    def __init__(self, core: _core.Model) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def prepare_inputs_for_generation(
        self, inputs: Mapping[str, Any], prefill_seq_len: int = 128, batch_size: int = 1
    ) -> Dict[str, Any]:
        """Adds position_ids [4, batch, n prefill_seq_len]: the text's index, time, height, width; -1 is padding.

        What only a processor needs to know, as image_grid_thw, is gone from what this returns.
        """
        ids = np.atleast_2d(np.asarray(inputs["input_ids"]))
        if len(ids) != batch_size:
            raise InvalidArgument(f"batch_size: {batch_size}, input_ids has {len(ids)} rows")
        if prefill_seq_len < 1:
            raise InvalidArgument(f"prefill_seq_len: {prefill_seq_len}, expected at least 1")
        description = self._core.description
        mask = np.atleast_2d(np.asarray(inputs.get("attention_mask", np.ones_like(ids)))).astype(bool)
        given = inputs.get("image_grid_thw")
        grids = [] if given is None else [tuple(grid) for grid in np.asarray(given).reshape(-1, 3).tolist()]
        positions = np.full((4, batch_size, -(-ids.shape[1] // prefill_seq_len) * prefill_seq_len), -1)
        for row, (tokens, kept) in enumerate(zip(ids, mask)):
            at = np.flatnonzero(kept)
            positions[0, row, at] = np.arange(len(at))
            own = _shared_out(grids, int((tokens[kept] == description.image_token_id).sum()), description.num_image_tokens)
            positions[1:, row, at] = self._core.rope_positions(token_ids(tokens[kept]), own)
        kinds = ("input_ids", "attention_mask", "pixel_values")
        prepared = {name: inputs[name] for name in kinds if inputs.get(name) is not None}
        like = getattr(inputs["input_ids"], "new_tensor", np.asarray)  # a torch tensor's companion is one, too
        return {**prepared, "position_ids": like(positions)}


class AutoModelForImageTextToText(_AutoModel):
    """A model of text and images, as the original's QEFFAutoModelForImageTextToText."""

    def __init__(self, model: _core.Model) -> None:
        super().__init__(model)
        self.model: Any = ImageModel(model)

    def compile(self, compile_dir: Optional[PathLike] = None, *, progress: Wanted = None, **options: Any) -> Dict[str, str]:
        """Makes programs; returns their folders by the original's names: vision_qpc_path, lang_qpc_path, ...

        A program that runs here holds vision and language: it stands under both names, unless skip_vision.
        """
        made = self._compile({**options, "compile_dir": compile_dir}, progress)
        lang = "lang_qpc_path"
        if options.get("prefill_only"):
            lang = "lang_prefill_qpc_path"
        elif options.get("prefill_seq_len") == 1:
            lang = "lang_decode_qpc_path"
        names = {"vision": "vision_qpc_path", "prefill": lang, "decode": lang if len(made.qaic) < 3 else "lang_decode_qpc_path"}
        if made.qaic:
            return {names[qaic.name]: str(qaic.folder) for qaic in made.qaic}
        paths: Dict[str, str] = {}
        if not options.get("skip_vision"):
            paths["vision_qpc_path"] = ProgramPath.of(str(made.folder), options)
        return paths if options.get("skip_lang") else {**paths, lang: str(made.folder)}

    def prepare(self, messages: Sequence[Dict[str, Any]], **request: Any) -> Dict[str, Any]:
        """The inputs of generate() for a conversation with pictures, as a processor makes them, without torch.

        `messages` and `request` are those of chat(). The pictures have been through the vision tower.
        """
        program = self._compiled()
        asked = json.dumps({"messages": [with_urls(message) for message in messages], **request})
        prompt, sources = _core.render_chat(self.model.folder, asked)
        images = [program.encode_image(source) for source in sources]
        ids = np.array([program.place_images(self.tokenizer.encode(prompt, False), images)])
        inputs: Dict[str, Any] = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if images:
            inputs["pixel_values"] = np.concatenate([image.pixel_values for image in images])
            inputs["image_grid_thw"] = np.array([[i.grid_t, i.grid_h, i.grid_w] for i in images])
            inputs["images"] = images
        return inputs

    def generate(
        self,
        inputs: Optional[Mapping[str, Any]] = None,
        tokenizer: Any = None,
        images: Union[None, PathLike, Sequence[PathLike]] = None,
        prompts: Union[None, str, Sequence[str]] = None,
        **options: Any,
    ) -> ExecInfo:
        """Continues a processor's inputs: input_ids, and pixel_values with image_grid_thw if there are pictures.

        Or prompts, each a user's message with the picture of the same place in images.
        """
        if inputs is None and prompts is not None:
            prepared = [prompt for each in _asked(prompts, images) for prompt in self._prepared(self.prepare(each))]
        elif inputs is not None and "input_ids" in inputs:
            prepared = self._prepared(inputs)
        else:
            raise InvalidArgument("inputs: expected input_ids, and pixel_values with image_grid_thw for pictures")
        return self._generate(prepared, tokenizer, _generation_options(options))

    def _prepared(self, inputs: Mapping[str, Any]) -> List[Prepared]:
        """A prompt for each row of input_ids, without its padding, and with the images of its image tokens."""
        ids = np.atleast_2d(np.asarray(inputs["input_ids"]))
        mask = np.atleast_2d(np.asarray(inputs.get("attention_mask", np.ones_like(ids))))
        images = list(inputs.get("images") or encode_pixels(self._compiled(), inputs))
        prompts: List[Prepared] = []
        for row, kept in zip(ids, mask):
            tokens = token_ids(row[kept.astype(bool)])
            wanted = int((tokens == self._compiled().image_token_id).sum())
            prompts.append((tokens, _shared_out(images, wanted, lambda image: image.num_tokens)))
        return prompts


for _class in (AutoModelForCausalLM, AutoModelForImageTextToText):
    with_options(_class.compile, signature_of("compile"), notes_of("compile"))
with_options(_AutoModel.export, signature_of("export"), notes_of("export"))

QEFFAutoModelForCausalLM = AutoModelForCausalLM
QEFFAutoModelForImageTextToText = AutoModelForImageTextToText
