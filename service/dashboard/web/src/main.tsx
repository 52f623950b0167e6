/** Entry point: puts the app on the page. */

import { render } from "preact";
import { App } from "./app";

render(<App />, document.body);
