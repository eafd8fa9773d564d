// Replies between tags: <think>…</think>, <tool_call>…</tool_call>, <|tool_call|>[…].
#include <utility>

#include "text/reply_reader.h"
#include "text/tool_call_text.h"

namespace expertile {
namespace {

enum Tag { kThinkOpen, kThinkClose, kCallOpen, kCallClose, kListOpen, kNumTags };
constexpr std::string_view kTags[kNumTags] = {"<think>", "</think>", "<tool_call>", "</tool_call>",
                                              "<|tool_call|>"};

// Text without the line ends at its beginning and end: those at the end are kept back until more
// text comes.
class TrimmedText {
 public:
  // From here on, leading line ends are dropped.
  void Begin() { drops_leading_ = true; }
  void Append(std::string_view text, std::string& out) {
    if (drops_leading_) text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
    if (text.empty()) return;
    drops_leading_ = false;
    const size_t end = text.find_last_not_of('\n') + 1;  // npos + 1 == 0
    if (end > 0) {
      out += std::exchange(kept_back_, {});
      out += text.substr(0, end);
    }
    kept_back_ += text.substr(end);
  }
  bool is_empty() const { return drops_leading_; }  // since Begin()
  void DropKeptBack() { kept_back_.clear(); }
  void Flush(std::string& out) { out += std::exchange(kept_back_, {}); }

 private:
  bool drops_leading_ = false;
  std::string kept_back_;
};

class TaggedReader final : public ReplyReader {
 public:
  TaggedReader(const ReplyFormat& format, ReplyStart start)
      : format_(format), tools_(std::move(start.tools)) {
    if (format.thoughts) tags_.insert(tags_.end(), {kThinkOpen, kThinkClose});
    if (format.tagged_calls) tags_.insert(tags_.end(), {kCallOpen, kCallClose});
    if (format.listed_calls) tags_.push_back(kListOpen);
    if (start.in_reasoning && format.thoughts) BeginThought();
  }

  std::vector<std::string_view> markers() const override {
    std::vector<std::string_view> texts;
    for (const Tag tag : tags_) texts.push_back(kTags[tag]);
    return texts;
  }

  void OnMarker(int marker, ReplyDelta& delta) override {
    const Tag tag = tags_[marker];
    switch (part_) {
      case Part::kThought:
        if (tag == kThinkOpen && thought_.is_empty()) return;      // the prompt had it, too
        if (tag != kThinkClose) return OnText(kTags[tag], delta);  // it thinks about a tag
        thought_.DropKeptBack();
        return BeginAnswer();
      case Part::kCall:
        if (tag == kCallClose) return EndCall(kTags[tag], delta);
        if (tag != kCallOpen) return OnText(kTags[tag], delta);  // inside an argument
        EndCall("", delta);
        return BeginCall(tag);
      case Part::kAnswer:
        if (tag == kThinkOpen) return BeginThought();
        if (tag == kCallOpen || tag == kListOpen) return BeginCall(tag);
    }
  }

  void OnText(std::string_view text, ReplyDelta& delta) override {
    if (part_ == Part::kThought) {
      thought_.Append(text, delta.reasoning);
    } else if (part_ == Part::kCall) {
      body_ += text;
    } else {
      answer_.Append(text, delta.content);
      if (!format_.tagged_calls && !format_.listed_calls) answer_.Flush(delta.content);
    }
  }

  void OnEnd(ReplyDelta& delta) override {
    if (part_ == Part::kCall) EndCall("", delta);
    answer_.Flush(delta.content);
  }

 private:
  enum class Part { kAnswer, kThought, kCall };

  void BeginThought() {
    part_ = Part::kThought;
    thought_.Begin();
  }

  void BeginAnswer() {
    part_ = Part::kAnswer;
    answer_.Begin();
  }

  void BeginCall(Tag tag) {
    part_ = Part::kCall;
    opened_by_ = tag;
    body_.clear();
  }

  // `closing` is the tag that ended it, for a body that is no call and so part of the answer.
  void EndCall(std::string_view closing, ReplyDelta& delta) {
    part_ = Part::kAnswer;
    if (auto calls = ReadToolCalls(body_, tools_); calls) {
      for (ToolCall& call : *calls) delta.tool_calls.push_back(std::move(call));
      answer_.DropKeptBack();
      answer_.Begin();
      return;
    }
    answer_.Append(kTags[opened_by_], delta.content);
    answer_.Append(body_, delta.content);
    answer_.Append(closing, delta.content);
  }

  const ReplyFormat format_;
  const std::vector<std::string> tools_;
  std::vector<Tag> tags_;
  Part part_ = Part::kAnswer;
  TrimmedText thought_;
  TrimmedText answer_;
  Tag opened_by_ = kCallOpen;
  std::string body_;  // of a call
};

}  // namespace

std::unique_ptr<ReplyReader> NewTaggedReader(const ReplyFormat& format, ReplyStart start) {
  return std::make_unique<TaggedReader>(format, std::move(start));
}

}  // namespace expertile
