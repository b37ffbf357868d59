// The headline: which stage holds the pipeline up, why, by which numbers, and what would help.
//
// Owns its elements. Before any traffic it says what to run instead. Event: `choose`, with the stage's `name`.

import { make, put } from './make.js';
import { say, sayOr } from './words.js';

export class Headline extends EventTarget {
  #root;
  #title = make('h2', { id: 'headline-title' });
  #cause = make('p', { className: 'cause' });
  #evidence = make('ul', { className: 'evidence' });
  #suggestion = make('p', { className: 'suggestion' });
  #tune = make('button', { type: 'button', className: 'main' });
  #told = '';

  constructor(root) {
    super();
    this.#root = root;
    this.#tune.onclick = () => this.dispatchEvent(Object.assign(new Event('choose'), { name: this.#tune.value }));
    root.append(make('div', {}, this.#title, this.#cause, this.#suggestion), this.#evidence, this.#tune);
  }

  /** `hadTraffic`: since these seconds are kept. */
  show({ bottleneck }, hadTraffic) {
    // A sentence that is said anew each second would be read aloud each second.
    const told = JSON.stringify([bottleneck, hadTraffic]);
    if (told === this.#told) return;
    this.#told = told;
    if (!hadTraffic) return this.#put('idle', null, say('noTraffic'), say('noTrafficWhy'), [], say('noTrafficRun'));
    if (!bottleneck) return this.#put('idle', null, say('notKnown'), say('notKnownWhy'), [], '');
    const { stage, cause, evidence, suggestion } = bottleneck;
    const kind = cause === 'upstream_idle' ? 'well' : 'slow';
    const title = stage ? say('isBottleneck', stage) : sayOr(`title_${cause}`, say('noStage'));
    this.#put(kind, stage, title, sayOr(`cause_${cause}`, cause), evidence ?? [], suggestion ?? '');
  }

  #put(kind, stage, title, cause, evidence, suggestion) {
    this.#root.dataset.kind = kind;
    put(this.#title, title);
    put(this.#cause, cause);
    this.#evidence.replaceChildren(...evidence.map((words) => make('li', {}, words)));
    this.#evidence.hidden = !evidence.length;
    this.#suggestion.replaceChildren(...withCode(suggestion));
    this.#suggestion.hidden = !suggestion;
    this.#tune.hidden = !stage;
    this.#tune.value = stage ?? '';
    put(this.#tune, stage ? say('tuneIt', stage) : '');
  }
}

/** What stands in back-quotes is a command. */
function withCode(words) {
  return words.split('`').map((part, at) => (at % 2 ? make('code', {}, part) : part));
}
