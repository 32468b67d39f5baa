// Starts the dashboard: connects to the node that served the page and keeps one Preact tree in step with it.
// Everything comes from the page's own origin; nothing is fetched from anywhere else.
import { render } from "preact";
import { App } from "./app";
import "./style.css";

const page = document.getElementById("page");
if (page) render(<App />, page);
