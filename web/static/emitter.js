// @ts-check
// An event target whose events have typed details.

/** @template {object} Events the type of each event's detail, by the event's name */
export class Emitter extends EventTarget {
  /**
   * Call `listener` with the detail of every event of that name.
   * @template {keyof Events & string} Name
   * @param {Name} name
   * @param {(detail: Events[Name]) => void} listener
   * @param {AddEventListenerOptions} [options]
   */
  on(name, listener, options) {
    this.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail), options);
  }

  /**
   * @template {keyof Events & string} Name
   * @param {Name} name
   * @param {Events[Name]} detail
   */
  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
