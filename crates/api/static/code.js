// The code of a link stands behind its #, where no server sees it.

const code = decodeURIComponent(location.hash.slice(1));
if (code) {
  document.getElementById("code").value = code;
  document.getElementById("password").focus();
  history.replaceState(null, "", location.pathname);
}
